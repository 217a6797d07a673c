//! JSON to Lua values and back.
//!
//! Objects become tables whose `null` members are absent; arrays become sequences in which
//! `null` is `json.null`. On the way back a table with the keys 1…n is an array, an empty one is
//! an object unless it came from `[]` or `json.array`, any other is an object.

mod read;
mod write;

pub use self::read::{SWELL, read};
pub use self::write::write;

#[cfg(test)]
mod tests {
    use mlua::{Lua, Table, Value};

    use super::*;

    fn array(lua: &Lua) -> Table {
        lua.create_table().unwrap()
    }

    fn there_and_back(text: &str) -> String {
        let lua = Lua::new();
        let value = read(&lua, text.as_bytes(), &array(&lua)).unwrap();
        String::from_utf8(write(&value).unwrap()).unwrap()
    }

    fn evaluated(source: &str) -> Result<String, String> {
        let lua = Lua::new();
        let value: Value = lua.load(source).eval().unwrap();
        write(&value).map(|json| String::from_utf8(json).unwrap())
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let lua = Lua::new();
        let deep = "[".repeat(1000);
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":}",
            "{1:2}",
            "\"\\ud800\"",
            "1 2",
            &deep,
        ] {
            let error = read(&lua, text.as_bytes(), &array(&lua)).unwrap_err();
            assert!(error.to_string().contains("not JSON"), "{text}: {error}");
        }
    }

    #[test]
    fn values_come_back_as_they_were() {
        for text in [
            "null",
            "true",
            "-0.5",
            "1e+300",
            "9007199254740991",
            "\"q\\\"\\\\\\n\u{00fc}\"",
            "[]",
            "{}",
            "[[],[[]],{}]",
            "{\"a\\n\":{\"b\":[false,null,\"c\\t\"]}}",
            "[null,7,\"x\",[],{}]",
        ] {
            assert_eq!(there_and_back(text), text);
        }
    }

    #[test]
    fn large_tables_lose_nothing_where_they_outgrow_the_first_members() {
        for count in [0, 1, 31, 32, 33, 64, 1000] {
            let items: Vec<_> = (0..count).map(|i| format!("[{i},\"{i}\"]")).collect();
            let text = format!("[{}]", items.join(","));
            assert_eq!(there_and_back(&text), text);
            let members: Vec<_> = (0..count)
                .map(|i| format!("\"k{i}\":{{\"v\":{i}}}"))
                .collect();
            let text = format!("{{\"none\":null,{}}}", members.join(","));
            let text = text.replace(",}", "}");
            let back: serde_json::Value = serde_json::from_str(&there_and_back(&text)).unwrap();
            let mut there: serde_json::Value = serde_json::from_str(&text).unwrap();
            there.as_object_mut().unwrap().remove("none");
            assert_eq!(back, there);
        }
    }

    #[test]
    fn the_last_of_members_with_one_name_counts_unless_it_is_null() {
        assert_eq!(there_and_back(r#"{"a":1,"a":2}"#), r#"{"a":2}"#);
        assert_eq!(there_and_back(r#"{"a":1,"a":null}"#), r#"{"a":1}"#);
    }

    #[test]
    fn only_a_sequence_is_an_array() {
        for (source, json) in [
            ("{1, 'a', true}", r#"[1,"a",true]"#),
            ("{}", "{}"),
            ("setmetatable({}, {})", "[]"),
            ("setmetatable({x = 1}, {})", r#"{"x":1}"#),
            ("{[2] = 1}", r#"{"2":1}"#),
            ("{[1.5] = 1}", r#"{"1.5":1}"#),
            ("{[true] = -0.0}", r#"{"true":0}"#),
            ("{0/0, 1/0, -1/0}", "[null,null,null]"),
            ("{2^53, 0.1, 1e21}", "[9007199254740992.0,0.1,1e+21]"),
        ] {
            assert_eq!(evaluated(source).unwrap(), json, "{source}");
        }
        let mixed = evaluated("{'a', x = 2}").unwrap();
        let mixed: serde_json::Value = serde_json::from_str(&mixed).unwrap();
        assert_eq!(mixed, serde_json::json!({ "1": "a", "x": 2 }));
    }

    #[test]
    fn what_json_has_no_word_for_is_named() {
        for (source, told) in [
            ("print", "a function cannot become JSON"),
            ("{{print}}", "a function cannot become JSON"),
            ("{[{}] = 1}", "a table cannot be a key"),
            ("'\\255'", "not UTF-8"),
            (
                "(function() local t = {} t.t = t return t end)()",
                "contains itself",
            ),
        ] {
            let error = evaluated(source).unwrap_err();
            assert!(error.contains(told), "{source}: {error}");
            assert!(!error.contains("runtime error"), "{error}");
        }
    }

    #[test]
    fn no_text_becomes_more_lua_than_is_reckoned_with() {
        let nested = |level: &str, end: &str| level.repeat(120) + "0" + &end.repeat(120);
        let numbered = |count: usize| -> Vec<String> {
            (0..count).map(|i| format!("\"{}\":0", radix(i))).collect()
        };
        let shapes = [
            vec!["0".into(); 65_537],
            vec!["0".into(); 33],
            vec!["[]".into(); 65_537],
            vec!["[0]".into(); 65_537],
            vec!["[[]]".into(); 65_537],
            vec!["{}".into(); 65_537],
            vec!["\"\"".into(); 65_537],
            vec!["{\"\":0}".into(); 65_537],
            vec![nested("[", "]"); 1_025],
            vec![nested("{\"\":", "}"); 1_025],
            vec![format!("[{}]", ["0"; 33].join(",")); 1_025],
            vec![format!("{{{}}}", numbered(33).join(",")); 1_025],
            (0..65_537).map(|i| format!("\"{}\"", radix(i))).collect(),
            vec![format!("{{{}}}", numbered(65_537).join(","))],
        ];
        for shape in shapes {
            let text = format!("[{}]", shape.join(","));
            let lua = Lua::new();
            let array = array(&lua);
            let limit = lua.used_memory() + text.len() * SWELL;
            lua.set_memory_limit(limit).unwrap();
            let value = read(&lua, text.as_bytes(), &array);
            assert!(value.is_ok(), "{}", text.split_at(40).0);
            lua.set_memory_limit(0).unwrap();
        }
    }

    /// The shortest text for a number.
    fn radix(mut number: usize) -> String {
        let mut text = String::new();
        loop {
            text.push((b'0' + (number % 64) as u8) as char);
            number /= 64;
            if number == 0 {
                return text.replace('\\', "~");
            }
        }
    }
}
