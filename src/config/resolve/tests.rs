//! Does every row of the table end in its field, with the meaning that is documented?

use super::*;
use crate::config::setting::Setting;
use crate::config::sources::Given;
use crate::config::table::{self, SETTINGS};

fn config(texts: &[(&str, &str)]) -> Config {
    let given = |name: &str, text: &str| {
        let setting: &'static Setting = table::find(name).unwrap();
        Given { setting, raw: setting.kind.split(text), origin: Origin::CommandLine(name.into()) }
    };
    let mut source = vec![given("wsgi_app", "app")];
    source.extend(texts.iter().map(|(name, text)| given(name, text)));
    Config::new(Sheet::of([source]).unwrap()).unwrap()
}

#[test]
fn every_field_takes_its_default_and_its_example() {
    config(&[]);
    for setting in SETTINGS {
        config(&[(setting.name, setting.example)]);
    }
}

#[test]
fn every_word_of_a_choice_has_its_variant() {
    for setting in SETTINGS {
        let crate::config::kinds::Kind::Choice(words, aliases) = setting.kind else { continue };
        for word in words.iter().chain(aliases.iter().map(|(alias, _)| alias)) {
            config(&[(setting.name, word)]);
        }
    }
}

#[test]
fn every_row_has_a_field() {
    let shown = format!("{:?}", config(&[]));
    for setting in SETTINGS.iter().filter(|setting| setting.section != Section::ServerHooks) {
        let field = format!(" {}: ", setting.name);
        assert!(shown.contains(&field), "{} is not a field of Config", setting.name);
    }
}

#[test]
fn hooks_that_are_set_are_listed() {
    assert_eq!(config(&[]).hooks, []);
    let hooks = config(&[("post_fork", "deploy.hooks.post_fork"), ("on_exit", "")]).hooks;
    assert_eq!(hooks, [("post_fork", Raw::from("deploy.hooks.post_fork"))]);
}

#[test]
fn zero_is_off() {
    let off =
        config(&[("timeout", "0"), ("keepalive", "0"), ("server_header", ""), ("limit_request_line", "0")]);
    assert_eq!(
        (off.timeout, off.keepalive, off.server_header, off.limit_request_line),
        (None, None, None, None)
    );
    assert_eq!((off.max_requests, off.max_worker_memory, off.pidfile), (None, None, None));
    let on = config(&[("timeout", "0.5"), ("max_worker_memory", "1K")]);
    assert_eq!(on.timeout, Some(Duration::from_millis(500)));
    assert_eq!(on.max_worker_memory, Some(1024));
}

#[test]
fn limits_of_a_head_follow_gunicorns_rules() {
    let normal = config(&[]);
    assert_eq!(normal.limit_request_line, Some(8190));
    assert_eq!(normal.limit_request_head, 100 * 8192 + 4 + 8192);
    let odd = config(&[
        ("limit_request_line", "20000"),
        ("limit_request_fields", "99999"),
        ("limit_request_field_size", "0"),
        ("limit_request_head", "64K"),
    ]);
    assert_eq!(odd.limit_request_line, Some(8190));
    assert_eq!(odd.limit_request_fields, 32_768);
    assert_eq!(odd.limit_request_field_size, 8190);
    assert_eq!(odd.limit_request_head, 65_536);
    assert_eq!(config(&[("limit_request_fields", "0")]).limit_request_fields, 32_768);
    assert_eq!(config(&[("threads", "0")]).threads, 1);
}

#[test]
fn an_application_is_needed() {
    let error = Config::new(Sheet::of([]).unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("No application module specified."));
    assert_eq!(error.exit, crate::config::exit::CONFIGURATION);
}

#[test]
fn origins_are_kept() {
    let config = config(&[("workers", "3")]);
    assert_eq!(config.origin("workers"), &Origin::CommandLine("workers".into()));
    assert_eq!(config.origin("threads"), &Origin::Default);
    assert_eq!(config.rows().len(), SETTINGS.len());
}
