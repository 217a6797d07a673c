//! Compiles a script without running it, so that a configuration can be checked with its scripts.

use std::path::Path;

use super::wire::Problem;

/// Why a script cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct CheckError {
    /// Counted from 1; 0 if the trouble has no place in the file.
    pub line: u32,
    /// Counted from 1; 0 if unknown.
    pub column: u32,
    /// What is wrong.
    pub message: String,
}

/// Reads and compiles a script, chosen by the ending of its name: `.js` or `.lua`.
pub fn check(path: &Path) -> Result<(), CheckError> {
    let plain = |message: String| CheckError {
        line: 0,
        column: 0,
        message,
    };
    let source = std::fs::read(path)
        .map_err(|error| plain(format!("cannot read {}: {error}", path.display())))?;
    let name = format!(
        "/{}",
        path.file_name().unwrap_or_default().to_string_lossy()
    );
    compile(&name, &source).map_err(|problem| CheckError {
        line: problem.line,
        column: problem.column,
        message: problem.message,
    })
}

fn compile(name: &str, source: &[u8]) -> Result<(), Problem> {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        #[cfg(feature = "js")]
        Some("js") => super::js::check(name, source),
        #[cfg(feature = "lua")]
        Some("lua") => super::lua::check(name, source),
        _ => {
            let _ = source;
            Err(Problem {
                message: format!(
                    "{name}: this callway runs scripts that end in {}",
                    super::library::ENDINGS.join(" or ")
                ),
                ..Problem::default()
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str, source: &str) -> Result<(), (u32, String)> {
        compile(name, source.as_bytes()).map_err(|problem| (problem.line, problem.message))
    }

    #[cfg(feature = "js")]
    #[test]
    fn the_line_of_a_javascript_error_is_named() {
        let (line, message) = verdict("/a.js", "var a = 1;\nvar b = ;\n").unwrap_err();
        assert_eq!(line, 2, "{message}");
        assert!(verdict("/a.js", "return request.body; // no line end").is_ok());
    }

    #[cfg(feature = "js")]
    #[test]
    fn a_file_that_closes_its_wrapper_is_bounded() {
        for source in [
            "}); while (true) {} (function () {",
            "}); try { while (true) {} } finally { while (true) {} } (function () {",
            "}); var a = []; while (true) { a.push(new Array(1000).join('x') + a.length); } (function () {",
            "}); (function f() { f(); })(); (function () {",
        ] {
            assert!(verdict("/a.js", source).is_err(), "{source}");
        }
    }

    #[cfg(feature = "lua")]
    #[test]
    fn the_line_of_a_lua_error_is_named() {
        let (line, message) = verdict("/a.lua", "local a = 1\nlocal b = = 2\n").unwrap_err();
        assert_eq!(line, 2, "{message}");
        assert!(verdict("/a.lua", "return request.body").is_ok());
        assert!(verdict("/a.lua", "\u{1b}Lua").is_err());
    }

    #[test]
    fn other_languages_are_refused() {
        assert!(verdict("/a.py", "").is_err());
        assert!(check(Path::new("/nowhere/a.js")).is_err());
    }
}
