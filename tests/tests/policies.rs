//! Policies through the binary: what they let through, in which spelling a path reaches the origin, and that a shadow only
//! talks. The rules themselves have their table in `proxy/src/policy/rules/tests.rs`.

use std::fs;

use herald_tests::application::{bench, configuration, named};
use herald_tests::client::Settings;
use herald_tests::herald::{self, Herald, Launch};
use herald_tests::origin::Origin;
use herald_tests::pki::{Identity, Key, Pki};
use herald_tests::records::Folder;
use herald_tests::table::{Table, check};
use herald_tests::wait;
use herald_tests::world::{Ask, Protocol};
use rcgen::{DnType, SanType};

/// Nothing is answered, nothing reaches the origin, and the connection is over; others are served meanwhile.
#[test]
fn a_policy_can_end_the_connection() {
    let policies = "[[application.policy]]\nname = \"trap\"\naction = \"abort\"\npath = \"/trap/**\"\ninclude = \"everyone\"\n\
         [[application.policy]]\naction = \"allow\"\ninclude = \"valid_certificate\"\n";
    for (extra, is_shadow) in [("", false), ("policy_mode = \"shadow\"", true)] {
        let bench = bench("required", extra, policies);
        for protocol in Protocol::ALL {
            let settings = Settings::new(Some(&Pki::shared().good()));
            let mut connection = protocol.connect(&bench.herald, &settings).unwrap();
            assert_eq!(connection.ask(&Ask::get("/")).unwrap().status, 200);
            bench.origin.take_one();
            let trapped = connection.ask(&Ask::get("/trap/a"));
            if is_shadow {
                assert_eq!(trapped.unwrap().status, 200);
                bench.origin.take_one();
                continue;
            }
            assert!(trapped.is_err(), "{protocol:?}");
            assert!(
                connection.ask(&Ask::get("/")).is_err(),
                "{protocol:?}: it goes on"
            );
            assert!(bench.origin.requests().is_empty());
            let mut other = protocol.connect(&bench.herald, &settings).unwrap();
            assert_eq!(other.ask(&Ask::get("/")).unwrap().status, 200);
            bench.origin.take_one();
        }
        assert_eq!(bench.herald.log().matches("panicked").count(), 0);
    }
}

const FLEET: &str = r#"
[[application.policy]]
name = "preflight"
action = "bypass"
include = "everyone"
method = "OPTIONS"

[[application.policy]]
name = "health"
action = "bypass"
include = "everyone"
path = "/health"
method = ["GET", "HEAD"]

[[application.policy]]
name = "admin"
action = "allow"
path = ["/admin", "/admin/**"]
include = ["common_name:boss"]

[[application.policy]]
name = "no other admin"
action = "block"
path = ["/admin", "/admin/**"]
include = ["everyone"]

[[application.policy]]
name = "fleet"
action = "allow"
include = ["san_dns:*.fleet.test"]
exclude = ["common_name:lost"]
"#;

#[test]
fn policies_decide_by_caller_method_and_path() {
    let bench = bench("optional", "", FLEET);
    let (boss, truck, lost) = (named("boss"), named("truck-7"), named("lost"));
    let stranger = Pki::shared().good();
    let mut table = Table::new("caller, method, path");
    for (who, caller, method, path, wanted) in [
        ("nobody", None, "OPTIONS", "/x", 200),
        ("nobody", None, "GET", "/health", 200),
        ("nobody", None, "POST", "/health", 403),
        ("nobody", None, "GET", "/x", 403),
        ("truck", Some(&truck), "GET", "/x", 200),
        ("truck", Some(&truck), "GET", "/admin", 403),
        ("truck", Some(&truck), "GET", "/admin/x", 403),
        ("boss", Some(&boss), "GET", "/admin/x", 200),
        ("boss", Some(&boss), "GET", "/x", 200),
        ("lost", Some(&lost), "GET", "/x", 403),
        ("stranger", Some(&stranger), "GET", "/x", 403),
        ("stranger", Some(&stranger), "OPTIONS", "/x", 200),
    ] {
        let (status, reached) = bench.ask(caller, method, path);
        let result = check(
            status == wanted && reached.is_some() == (wanted == 200),
            || format!("{status} instead of {wanted}, the origin got {reached:?}"),
        );
        table.row(&format!("{who} {method} {path}"), result);
    }
    table.finish();
}

/// No spelling of a path walks past the rule for it, and the origin gets the spelling that was judged.
#[test]
fn one_path_has_one_spelling() {
    let bench = bench("optional", "", FLEET);
    let truck = named("truck-7");
    let mut table = Table::new("spellings of paths");
    for (sent, wanted, forwarded) in [
        ("/x", 200, Some("/x")),
        ("/x?q=/admin/../%2f", 200, Some("/x?q=/admin/../%2f")),
        ("/a%7eb?q", 200, Some("/a~b?q")),
        ("/x//y/./z", 200, Some("/x/y/z")),
        ("/x/../y", 200, Some("/y")),
        ("/%61dmin", 403, None),
        ("//admin", 403, None),
        ("/./admin", 403, None),
        ("/x/../admin/", 403, None),
        ("/x/%2e%2e/admin/x", 403, None),
        ("/admin;x=1", 200, Some("/admin;x=1")),
        ("/ADMIN", 200, Some("/ADMIN")),
        ("/x/..;/admin", 400, None),
        ("/x%2fadmin", 400, None),
        ("/x%5cadmin", 400, None),
        ("/x\\admin", 400, None),
        ("/../admin", 400, None),
        ("/admin%00", 400, None),
        ("/admin%zz", 400, None),
    ] {
        let (status, reached) = bench.ask(Some(&truck), "GET", sent);
        let holds = status == wanted && reached.as_deref() == forwarded;
        table.row(
            sent,
            check(holds, || {
                format!("{status} {reached:?}, not {wanted} {forwarded:?}")
            }),
        );
    }
    table.finish();
}

/// Without rules for paths a path is the origin's business alone.
#[test]
fn without_path_rules_a_path_is_forwarded_untouched() {
    let everybody = "[[application.policy]]\naction = \"allow\"\ninclude = \"valid_certificate\"\n";
    let bench = bench("required", "", everybody);
    let caller = Pki::shared().good();
    for path in ["/a//b/../%61%2fx", "/..;/x"] {
        assert_eq!(
            bench.ask(Some(&caller), "GET", path),
            (200, Some(path.to_owned()))
        );
    }
}

/// Policies narrow the mode and never widen it: a bypass does not make a certificate optional.
#[test]
fn a_bypass_lifts_no_mode() {
    let bench = bench("required", "", FLEET);
    assert_eq!(bench.ask(None, "OPTIONS", "/x").0, 403);
    assert_eq!(
        bench
            .ask(Some(&Pki::shared().expired()), "GET", "/health")
            .0,
        403
    );
    assert_eq!(
        bench.ask(Some(&Pki::shared().good()), "GET", "/health").0,
        200
    );
}

/// A certificate that failed has no attributes, whatever it says.
#[test]
fn a_failed_certificate_meets_no_selector() {
    let bench = bench("forward-failed", "", FLEET);
    let forged = Pki::shared().other.issue(
        {
            let mut params = herald_tests::pki::client_params();
            params.distinguished_name.push(DnType::CommonName, "boss");
            params.subject_alt_names =
                vec![SanType::DnsName("boss.fleet.test".try_into().unwrap())];
            params
        },
        Key::Ec,
    );
    assert_eq!(bench.ask(Some(&forged), "GET", "/x").0, 403);
    assert_eq!(bench.ask(Some(&forged), "GET", "/admin").0, 403);
    assert_eq!(bench.ask(Some(&forged), "GET", "/health").0, 200);
}

#[test]
fn a_shadow_lets_through_and_tells() {
    let bench = bench("optional", "policy_mode = \"shadow\"", FLEET);
    assert_eq!(bench.ask(None, "GET", "/x").0, 200);
    wait::until("the shadow's line", || {
        let log = bench.herald.log();
        log.lines()
            .any(|line| line.contains("shadow policy would deny") && line.contains("app"))
            .then_some(())
    });
    // It lifts neither the mode nor the checks of paths.
    assert_eq!(
        bench.ask(Some(&Pki::shared().expired()), "GET", "/x").0,
        403
    );
    assert_eq!(bench.ask(None, "GET", "/x%2fadmin").0, 400);
}

/// Records name the application, the policy that decided, and the store and CA that the certificate led to.
#[test]
fn records_tell_who_decided() {
    let (folder, origin) = (Folder::default(), Origin::echo());
    let file = folder.path("herald.toml");
    let told = |mode: &str| {
        let text = configuration(&origin, "optional", mode, FLEET);
        fs::write(&file, text.replace("admin = \"off\"\n", "")).unwrap();
        let launch = Launch::bare(["run".as_ref(), "--config".as_ref(), file.as_os_str()]);
        folder.launch(launch).start()
    };
    let ask = |herald: &Herald, caller: Option<&Identity>, target: &str| {
        let mut client = Settings::new(caller).connect(herald.address()).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n\r\n");
        client.send(head.as_bytes()).unwrap();
        client.response_to("GET").unwrap().status
    };
    let herald = told("policy_mode = \"shadow\"");
    let truck = named("truck-7");
    assert_eq!(ask(&herald, Some(&truck), "/x"), 200);
    assert_eq!(ask(&herald, Some(&truck), "/admin"), 200);
    assert_eq!(ask(&herald, None, "/x"), 200);
    let records = folder.requests(3);
    let field = |at: usize, name: &str| records[at][name].as_str().unwrap_or("-").to_owned();
    let row =
        |at| ["application", "rule", "shadow", "policy", "trust_store"].map(|name| field(at, name));
    assert_eq!(row(0), ["app", "fleet", "-", "allow", "default"]);
    assert_eq!(
        row(1),
        ["app", "no other admin", "deny", "allow", "default"]
    );
    assert_eq!(row(2), ["app", "none", "deny", "allow", "-"]);
    assert!(field(0, "root").starts_with("CN="), "{}", records[0]);
    assert_eq!(folder.metric("herald_shadow_denials_total"), 2);
    drop(herald);
    let herald = told("");
    assert_eq!(ask(&herald, Some(&truck), "/admin"), 403);
    let record = folder.requests(4).pop().unwrap();
    assert_eq!(record["policy"], "deny");
    assert_eq!(record["rule"], "no other admin");
    assert_eq!(folder.metric("herald_shadow_denials_total"), 0);
}

#[test]
fn mistakes_in_policies_are_told_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("herald.toml");
    let policies = "[[application.policy]]\naction = \"permit\"\n\
                    [[application.policy]]\naction = \"bypass\"\ninclude = \"valid_certificate\"\n\
                    [[application.policy]]\naction = \"allow\"\npath = \"admin\"\nmethod = \"get\"\n\
                    [[application.policy]]\naction = \"allow\"\ninclude = [\"comon_name:x\"]\nwhen = \"now\"\n";
    fs::write(
        &file,
        configuration(
            &Origin::echo(),
            "optional",
            "policy_mode = \"dry\"",
            policies,
        ),
    )
    .unwrap();
    let output = herald::run(&["check", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    for what in [
        "action: `permit` is not allowed",
        "policy_mode: `dry` is not allowed",
        "include: `valid_certificate` can't be asked of whom a bypass lets through",
        "policy: a bypass of everything leaves no policy",
        "policy: this policy includes nobody",
        "path: `admin` is no pattern of canonical paths",
        "method: `get` is no method",
        "when: is not a known key",
    ] {
        assert!(told.contains(what), "{what}\n{told}");
    }
    let selector = "[[application.policy]]\naction = \"allow\"\ninclude = [\"comon_name:x\"]\n";
    fs::write(
        &file,
        configuration(&Origin::echo(), "optional", "", selector),
    )
    .unwrap();
    let output = herald::run(&["check", "--config", file.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("include: `comon_name:x` is no selector") || told.contains(": include: "),
        "{told}"
    );
}
