-- A chat bot: welcomes new viewers, gives out points, answers calls about them.
script_trigger_type = 'On Connect';

function welcome(user)
    writeChat('Welcome, ' .. user.displayName .. '!');
end

function command(user, message)
    local words = helper.split(message, ' ');

    if words[1] == '!daily' then
        local diary = user.loadUserData('diary') or { last = '' };
        if diary.last == os.date('%Y-%m-%d') then
            writeChat(user.displayName .. ', come back tomorrow.');
            return;
        end
        diary.last = os.date('%Y-%m-%d');
        user.saveUserData('diary', diary);
        local success, balance = addCurrency(user, 10);
        writeChat(user.displayName .. ' now has ' .. balance .. ' points.');
    end

    if words[1] == '!give' and words[3] ~= nil then
        local target = getUser(words[2]);
        local amount = tonumber(words[3]);
        if target == nil or amount == nil or amount <= 0 then
            writeChat('!give NAME POINTS, to someone who is here');
            return;
        end
        local success, balance = removeCurrency(user, amount);
        if success then
            addCurrency(target, amount);
            writeChat(user.displayName .. ' gave ' .. amount .. ' points to ' .. target.displayName .. '.');
        else
            writeChat(user.displayName .. ' has only ' .. balance .. ' points.');
        end
    end
end

-- Answers bot/points with {"user":"Ada"}, whoever calls and over whichever transport.
function points(params, call)
    if call.method ~= 'bot/points' then
        error('ask for bot/points');
    end
    return { user = params.user, points = getCurrency(params.user) };
end

return function()
    addEvent('newViewer', 'welcome');
    addEvent('customCommand', 'command');
    callway.serve('bot/{question}', 'points');
    log('the bot is here');
    keepAlive();
end
