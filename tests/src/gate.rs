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

/// True in the guest of `cargo xtask bench ktls`, whose clock counts instructions.
pub fn counting(test: &str) -> bool {
    let counts = flag("HERALD_COUNT");
    if !counts {
        println!("NOT RUN {test} (runs in `cargo xtask bench ktls`)");
    }
    counts
}

/// True inside a guest of `cargo xtask vm`; else says that `test` did not run: the guest is its place.
pub fn guest(test: &str) -> bool {
    let inside = is_guest();
    if !inside {
        println!("NOT RUN {test} (runs in `cargo xtask vm`)");
    }
    inside
}

/// True inside a guest of `cargo xtask vm`.
pub fn is_guest() -> bool {
    flag("HERALD_GUEST")
}

fn flag(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| value == "1")
}
