//! What a test does when the machine lacks a tool it needs: it says so, or fails where everything is required.

use std::env;

/// True when `tool` works; else prints `SKIPPED test: reason`, or panics when `HERALD_REQUIRE_ALL=1`.
pub fn require(test: &str, tool: &str, works: bool) -> bool {
    if works {
        return true;
    }
    assert!(
        !flag("HERALD_REQUIRE_ALL"),
        "{test} needs {tool}, and HERALD_REQUIRE_ALL=1 forbids skipping"
    );
    println!("SKIPPED {test}: {tool} is not here");
    false
}

/// True when `command` can be started and succeeds with `arguments`.
pub fn succeeds(command: &str, arguments: &[&str]) -> bool {
    std::process::Command::new(command)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// True when the long tests are asked for (`HERALD_LONG=1`); else says that `test` did not run.
pub fn long(test: &str) -> bool {
    let wanted = flag("HERALD_LONG");
    if !wanted {
        println!("NOT RUN {test} (needs --long)");
    }
    wanted
}

/// True inside a guest of `cargo xtask vm`; else says that `test` did not run: the guest is its place.
pub fn guest(test: &str) -> bool {
    let inside = flag("HERALD_GUEST");
    if !inside {
        println!("NOT RUN {test} (runs in `cargo xtask vm`)");
    }
    inside
}

fn flag(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| value == "1")
}
