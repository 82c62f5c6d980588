//! Which application does APP name?
//!
//! Must not know: Python's grammar beyond its outline; modules, files, what can be imported.
//!
//! Invariants:
//! 1. `module` is a dotted name; `object` is a dotted name, or one followed by a call in brackets.

use std::fmt;

use super::kinds::Problem;

/// What a module's application is called when APP does not say.
const DEFAULT_OBJECT: &str = "application";
const FORMS: &str = "use MODULE, MODULE:NAME or MODULE:FACTORY(ARGUMENTS), e.g. myproject.wsgi:application";

/// `MODULE`, `MODULE:NAME` or `MODULE:factory(arguments)`, checked for shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppTarget {
    /// What to import.
    pub module: String,
    /// What to take from it, `application` where nothing was said: attributes, or a call.
    pub object: String,
}

impl AppTarget {
    /// Reads APP; splits at the first colon, as Gunicorn does.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let (module, object) = text.split_once(':').unwrap_or((text, DEFAULT_OBJECT));
        check_module(module)?;
        check_object(object)?;
        Ok(Self { module: module.to_owned(), object: object.to_owned() })
    }
}

impl fmt::Display for AppTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.module, self.object)
    }
}

fn check_module(module: &str) -> Result<(), Problem> {
    if let Some(path) = module.strip_suffix(".py").filter(|path| path.contains('/')) {
        let (directory, name) = path.rsplit_once('/').unwrap_or((".", path));
        let hint = format!("use --chdir {directory} {name}:{DEFAULT_OBJECT}");
        return Err(Problem::new("APP is a module's name, not a file", hint));
    }
    // Names need not be identifiers: importlib finds `my-app.py` too.
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && !"/\\()[]{}'\",;".contains(c);
    if module.is_empty() || module.split('.').any(str::is_empty) || !module.chars().all(allowed) {
        return Err(Problem::new(format!("Failed to parse {module:?} as a module name."), FORMS));
    }
    Ok(())
}

fn check_object(object: &str) -> Result<(), Problem> {
    let (name, call) = match object.find('(') {
        Some(at) => object.split_at(at),
        None => (object, ""),
    };
    let named = name.trim().split('.').all(is_identifier);
    let called = call.is_empty() || call.trim_end().ends_with(')');
    if named && called {
        return Ok(());
    }
    let problem = format!("Failed to parse {object:?} as an attribute name or function call.");
    Err(Problem::new(problem, FORMS))
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let cases = [
            ("app", "app", "application"),
            ("pkg.mod:app", "pkg.mod", "app"),
            ("my-app:app", "my-app", "app"),
            ("m:a.b.c", "m", "a.b.c"),
            ("m:create_app()", "m", "create_app()"),
            ("m:make('a:b', debug=True)", "m", "make('a:b', debug=True)"),
            ("m:a.make(1)", "m", "a.make(1)"),
            ("m:größe", "m", "größe"),
        ];
        for (text, module, object) in cases {
            let target = AppTarget::parse(text).unwrap();
            assert_eq!((target.module.as_str(), target.object.as_str()), (module, object), "{text:?}");
            assert_eq!(AppTarget::parse(&target.to_string()).unwrap(), target);
        }
    }

    #[test]
    fn not_targets() {
        for text in [
            "", ":app", "m:", "m..n:app", "m:1x", "m:a b", "m:a[0]", "m:f(", "m:f()()x", "m:a..b", "a b:c",
            "m:(f)()",
        ] {
            assert!(AppTarget::parse(text).is_err(), "{text:?}");
        }
        let file = AppTarget::parse("src/app.py").unwrap_err();
        assert_eq!(file.hint, "use --chdir src app:application");
    }
}
