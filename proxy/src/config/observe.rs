//! Where records go and where an operator looks in, as both are written: `off`, `-`, a path,
//! `unix:PATH`, a loopback address.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgAction, Args, ValueEnum};

/// How records are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// `name=value`, separated by spaces.
    Text,
}

/// What is written down, and who may look in.
#[derive(Args, Clone, Debug)]
pub struct ObserveFlags {
    /// One record a request: off, a file, or - for standard output. SIGUSR1 opens files anew, for rotation.
    #[arg(long, value_name = "PATH", default_value = "off", help_heading = "Log")]
    pub access_log: LogTarget,

    /// One record a client connection: off, a file (that of --access-log too), or - for standard output.
    #[arg(long, value_name = "PATH", default_value = "off", help_heading = "Log")]
    pub connection_log: LogTarget,

    /// How records of requests and connections are written.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value = "json",
        help_heading = "Log"
    )]
    pub access_log_format: LogFormat,

    /// Reloads by itself when the configuration or a file it names has changed; without it on SIGHUP and `herald reload` alone.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        action = ArgAction::Set,
        help_heading = "Administration"
    )]
    pub watch: bool,

    /// Where /metrics, /livez, /readyz and /status are served, and `herald status` and `herald reload` ask: off, unix:PATH (mode 0600), or a loopback address and port.
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "off",
        help_heading = "Administration"
    )]
    pub admin: AdminAddr,
}

/// Where records are written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LogTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// A file.
    File(PathBuf),
}

/// Where status and metrics are served.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AdminAddr {
    /// Nowhere.
    Off,
    /// A Unix socket, for its owner alone.
    Unix(PathBuf),
    /// A loopback address.
    Tcp(SocketAddr),
}

impl FromStr for LogTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "-" => Ok(Self::Stdout),
            _ => path(text)
                .map(Self::File)
                .ok_or_else(|| "off, a path, or - for standard output".into()),
        }
    }
}

impl FromStr for AdminAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const ALLOWED: &str =
            "off, unix:PATH, or a loopback address and port such as 127.0.0.1:9900";
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Some(socket) = text.strip_prefix("unix:") {
            return match path(socket) {
                // sockaddr_un holds 108 bytes with the final NUL, and the socket is made under a
                // longer name first.
                Some(socket) if socket.as_os_str().len() <= SOCKET_PATH_MAX => {
                    Ok(Self::Unix(socket))
                }
                Some(_) => Err(format!("a path of at most {SOCKET_PATH_MAX} bytes")),
                None => Err(ALLOWED.into()),
            };
        }
        match text.parse::<SocketAddr>() {
            // What it shows (callers, origins, load) is for this host; no setting opens it wider.
            Ok(address) if !address.ip().to_canonical().is_loopback() => Err(format!(
                "{ALLOWED}; a proxy of your own may stand before it for other hosts"
            )),
            Ok(address) => Ok(Self::Tcp(address)),
            Err(_) => Err(ALLOWED.into()),
        }
    }
}

impl fmt::Display for AdminAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

fn path(text: &str) -> Option<PathBuf> {
    let sound = !text.is_empty() && !text.bytes().any(|byte| byte.is_ascii_control());
    sound.then(|| PathBuf::from(text))
}

/// Longest path of an admin socket, bytes.
const SOCKET_PATH_MAX: usize = 90;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_address_never_leaves_the_host() {
        for text in [
            "127.0.0.1:9900",
            "127.9.9.9:1",
            "[::1]:9900",
            "[::ffff:127.0.0.1]:1",
        ] {
            let address = text.parse::<AdminAddr>();
            assert!(matches!(address, Ok(AdminAddr::Tcp(_))), "{text}");
        }
        for text in [
            "0.0.0.0:9900",
            "[::]:9900",
            "10.0.0.1:1",
            "[::ffff:10.0.0.1]:1",
            "9900",
            "unix:",
            "",
        ] {
            assert!(text.parse::<AdminAddr>().is_err(), "{text}");
        }
        let long = format!("unix:/{}", "a".repeat(100));
        assert!(long.parse::<AdminAddr>().is_err());
        let shown = "unix:/run/herald/admin.sock";
        assert_eq!(shown.parse::<AdminAddr>().unwrap().to_string(), shown);
    }

    #[test]
    fn a_log_is_off_standard_output_or_a_file() {
        assert_eq!("off".parse(), Ok(LogTarget::Off));
        assert_eq!("-".parse(), Ok(LogTarget::Stdout));
        assert_eq!("./off".parse(), Ok(LogTarget::File("./off".into())));
        assert!("".parse::<LogTarget>().is_err());
        assert!("a\nb".parse::<LogTarget>().is_err());
    }
}
