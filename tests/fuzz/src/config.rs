//! The configuration file: any bytes, and either a configuration or mistakes that can be told.

use std::path::PathBuf;
use std::sync::LazyLock;

use herald::config::Config;

pub(crate) fn run(bytes: &[u8]) {
    std::fs::write(&*FILE, bytes).unwrap();
    let path = FILE.to_str().unwrap().to_owned();
    match Config::from_flags(["--config".to_owned(), path]) {
        Ok(config) => assert!(!config.plan().is_empty()),
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty());
            let text = mistakes.to_string();
            assert!(
                !text
                    .bytes()
                    .any(|byte| byte.is_ascii_control() && byte != b'\n'),
                "{text:?}"
            );
        }
    }
}

/// In memory where the system has such a folder: a file is written for every input.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    };
    folder.join(format!("herald-fuzz-{}.toml", std::process::id()))
});
