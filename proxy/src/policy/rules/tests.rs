//! One table of policies, callers and requests.

use super::*;

fn policy(
    action: Action,
    [include, require, exclude]: [&[&str]; 3],
    paths: &[&str],
    methods: &[&str],
) -> Policy {
    let selectors = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| Selector::parse(text).unwrap())
            .collect()
    };
    Policy {
        name: format!("{action:?} {include:?}"),
        action,
        paths: paths.iter().map(|path| Pattern::path(path)).collect(),
        methods: methods.iter().map(|&method| method.to_owned()).collect(),
        include: selectors(include),
        require: selectors(require),
        exclude: selectors(exclude),
    }
}

fn device(common_name: &str) -> Attributes {
    Attributes {
        common_name: vec![common_name.to_owned()],
        organization: vec!["Example".to_owned()],
        san_dns: vec!["a.example".to_owned(), "b.example".to_owned()],
        spiffe: vec!["spiffe://example/ns/x".to_owned()],
        fingerprint: vec!["ab".repeat(20), "cd".repeat(32)],
        serial: vec!["0A0B".to_owned()],
        country: vec!["AU".to_owned()],
        issuer_organization: vec!["Example CA".to_owned()],
        eku: vec!["1.3.6.1.5.5.7.3.2".to_owned()],
        policy_oid: vec!["1.2.3.4".to_owned()],
        extension: vec!["1.2.3.4.5=0c0161".to_owned()],
        key_type: vec!["rsa".to_owned(), "rsa-3072".to_owned()],
        lifetime: Some(90 * 86_400),
        ..Attributes::default()
    }
}

/// The policies of the table.
fn rules() -> Rules {
    use Action::{Allow, Block, Bypass};
    Rules::new(
        vec![
            policy(Bypass, [&["everyone"], &[], &[]], &[], &["OPTIONS"]),
            policy(
                Bypass,
                [&["everyone"], &[], &[]],
                &["/health"],
                &["GET", "HEAD"],
            ),
            policy(Block, [&["common_name:lost-*"], &[], &[]], &[], &[]),
            policy(
                Allow,
                [&["common_name:admin"], &[], &[]],
                &["/admin/**"],
                &[],
            ),
            policy(
                Block,
                [&["everyone"], &[], &[]],
                &["/admin/**", "/admin"],
                &[],
            ),
            policy(
                Allow,
                [
                    &["san_dns:*.Example", FINGERPRINT],
                    &["organization:Example", "valid_certificate"],
                    &["common_name:guest"],
                ],
                &[],
                &[],
            ),
        ],
        false,
    )
}

const FINGERPRINT: &str = "fingerprint:ABABABABABABABABABABABABABABABABABABABAB";

#[test]
fn the_first_policy_that_matches_decides() {
    let rules = rules();
    for (caller, method, path, passes) in [
        (None, "OPTIONS", "/x", true),
        (None, "GET", "/health", true),
        (None, "POST", "/health", false),
        (None, "GET", "/health/", false),
        (None, "GET", "/x", false),
        (Some("device-1"), "GET", "/x", true),
        (Some("device-1"), "GET", "/admin/x", false),
        (Some("device-1"), "GET", "/admin", false),
        (Some("admin"), "GET", "/admin/x", true),
        (Some("admin"), "GET", "/admin", false),
        (Some("admin"), "DELETE", "/admin/x/y", true),
        (Some("lost-1"), "GET", "/x", false),
        (Some("lost-1"), "OPTIONS", "/x", true),
        (Some("guest"), "GET", "/x", false),
    ] {
        let attributes = caller.map(device);
        let met = rules.standing(attributes.as_ref());
        let decision = rules.decide(&met, method, path.as_bytes());
        let passed = matches!(decision, Decision::Pass(_));
        assert_eq!(passed, passes, "{caller:?} {method} {path}: {decision:?}");
    }
}

/// A caller without a good certificate has no attributes: no selector holds, no exclusion lets it in, and a
/// block that spares some does not spare it.
#[test]
fn what_a_caller_is_not_lets_nobody_in() {
    let one = |action, exclude| {
        Rules::new(
            vec![policy(action, [&["everyone"], &[], &[exclude]], &[], &[])],
            false,
        )
    };
    let passes = |rules: &Rules, caller: Option<&Attributes>| {
        matches!(
            rules.decide(&rules.standing(caller), "GET", b"/"),
            Decision::Pass(_)
        )
    };
    let allow = one(Action::Allow, "common_name:bad");
    assert!(passes(&allow, Some(&device("good"))));
    assert!(!passes(&allow, Some(&device("bad"))));
    assert!(!passes(&allow, None));
    let block = one(Action::Block, "common_name:good");
    let met = block.standing(None);
    assert!(matches!(
        block.decide(&met, "GET", b"/"),
        Decision::Deny(Some(_))
    ));
    let met = block.standing(Some(&device("good")));
    assert_eq!(block.decide(&met, "GET", b"/"), Decision::Deny(None));
}

#[test]
fn selectors_are_exact_or_globs_on_parsed_values() {
    let holds = |text: &str| {
        Selector::parse(text)
            .unwrap()
            .holds(Some(&device("a,CN=admin")))
    };
    for (selector, expected) in [
        ("common_name:admin", false),
        ("common_name:a,CN=admin", true),
        ("common_name:*admin", true),
        ("organization:example", false),
        ("san_dns:A.EXAMPLE", true),
        ("san_dns:c.example", false),
        ("spiffe:spiffe://example/ns/*", true),
        ("spiffe:spiffe://example/*", false),
        ("spiffe:spiffe://example/**", true),
        ("spiffe:spiffe://example", false),
        ("spiffe:spiffe://exam", false),
        ("spiffe:spiffe://other/**", false),
        ("serial:0a0b", true),
        (FINGERPRINT, true),
        (
            "fingerprint:CDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCDCD",
            true,
        ),
        (
            "fingerprint:0000000000000000000000000000000000000000",
            false,
        ),
        ("trust_store:*", false),
    ] {
        assert_eq!(holds(selector), expected, "{selector}");
    }
}

/// What a certificate is for, and of what kind it is.
#[test]
fn selectors_of_use_and_kind() {
    let holds = |text: &str| Selector::parse(text).unwrap().holds(Some(&device("x")));
    for (selector, expected) in [
        ("eku:client_auth", true),
        ("eku:1.3.6.1.5.5.7.3.2", true),
        ("eku:server_auth", false),
        ("eku:any", false),
        ("policy_oid:1.2.3.4", true),
        ("policy_oid:1.2.3", false),
        ("extension_oid:1.2.3.4.5", true),
        ("extension_oid:1.2.3.4", false),
        ("extension_oid:1.2.3.4.5=0C0161", true),
        ("extension_oid:1.2.3.4.5=0c01", false),
        ("key_type:rsa", true),
        ("key_type:rsa-3072", true),
        ("key_type:rsa-2048", false),
        ("key_type:ec", false),
        ("max_lifetime:90d", true),
        ("max_lifetime:2160h", true),
        ("max_lifetime:7775999s", false),
        ("country:AU", true),
        ("issuer_organization:Example CA", true),
    ] {
        assert_eq!(holds(selector), expected, "{selector}");
    }
}

#[test]
fn what_is_no_selector() {
    for text in [
        "",
        "nobody",
        "common_name",
        "common_name:",
        "fingerprint:ab",
        "spki:zz",
        "everyone:x",
        "valid_certificate:1",
        "spiffe:example/x",
        "spiffe:spiffe://*/x",
        "spiffe:spiffe://example*",
        "eku:client",
        "policy_oid:1",
        "policy_oid:1.*",
        "policy_oid:1.02",
        "extension_oid:1.2=",
        "extension_oid:1.2=f",
        "extension_oid:=ff",
        "key_type:dsa",
        "key_type:rsa-",
        "max_lifetime:90",
        "max_lifetime:0d",
        "max_lifetime:+1d",
        "max_lifetime:99999999999999999999d",
    ] {
        assert!(Selector::parse(text).is_err(), "{text}");
    }
}

/// No selector is true of nobody, and `max_lifetime` not of a certificate whose dates can't be read.
#[test]
fn every_selector_needs_a_good_certificate() {
    for text in [
        "valid_certificate",
        "max_lifetime:9999d",
        "eku:client_auth",
        "extension_oid:1.2.3.4.5",
        "common_name:*",
    ] {
        let selector = Selector::parse(text).unwrap();
        assert!(!selector.holds(None), "{text}");
        assert!(!selector.holds(Some(&Attributes::default())) || text == "valid_certificate");
    }
}
