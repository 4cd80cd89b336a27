//! TCP settings that the kernel makes when a connection is established, as operators write them:
//! `congestion=bbr,notsent_lowat=16KiB,initial_window=20`, each at most once and at least one;
//! for a listener alone, `SETTINGS@ADDR:PORT`.

use std::net::SocketAddr;
use std::str::FromStr;

use proxy_common::TcpProfile;

use super::units::Size;

/// Settings of connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TcpSettings(pub TcpProfile);

/// Settings of the connections of one listener, or of all that have none of their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListenerSettings {
    /// The settings.
    pub settings: TcpSettings,
    /// An address of `listen`; without one, all others.
    pub listener: Option<SocketAddr>,
}

impl FromStr for TcpSettings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut profile = TcpProfile::default();
        for setting in text.split(',') {
            let (name, value) = setting.split_once('=').ok_or_else(shape)?;
            match name {
                "congestion" if profile.congestion == [0; 16] => {
                    profile.congestion = congestion(value)?;
                }
                "notsent_lowat" if profile.notsent_lowat == 0 => {
                    let Size(bytes) = value.parse()?;
                    let bytes = u32::try_from(bytes).or(Err("at most 1GiB"))?;
                    profile.notsent_lowat = bytes;
                }
                "initial_window" if profile.initial_window == 0 => {
                    let segments = value.parse().ok();
                    let segments = segments.filter(|count| (1..=WINDOW_MAX).contains(count));
                    profile.initial_window =
                        segments.ok_or_else(|| format!("1 to {WINDOW_MAX} segments"))?;
                }
                "congestion" | "notsent_lowat" | "initial_window" => {
                    return Err(format!("{name} once"));
                }
                _ => return Err(shape()),
            }
        }
        Ok(Self(profile))
    }
}

impl FromStr for ListenerSettings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (settings, listener) = match text.split_once('@') {
            Some((settings, address)) => {
                let address = address
                    .parse()
                    .or(Err("an address of listen after the @"))?;
                (settings, Some(address))
            }
            None => (text, None),
        };
        let settings = settings.parse()?;
        Ok(Self { settings, listener })
    }
}

/// A name as the kernel's are, ended by NUL (`TCP_CA_NAME_MAX` in `linux/tcp.h`).
fn congestion(name: &str) -> Result<[u8; 16], String> {
    let is_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if name.is_empty() || name.len() > 15 || !name.bytes().all(is_name) {
        return Err("the name of a congestion control, such as cubic or bbr".into());
    }
    let mut padded = [0; 16];
    padded
        .iter_mut()
        .zip(name.bytes())
        .for_each(|(to, byte)| *to = byte);
    Ok(padded)
}

fn shape() -> String {
    "congestion=NAME, notsent_lowat=SIZE, initial_window=SEGMENTS, separated by commas".into()
}

/// Far above what any path takes at once.
const WINDOW_MAX: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_in_any_order() {
        let read: ListenerSettings =
            "initial_window=20,congestion=bbr,notsent_lowat=16KiB@[::1]:443"
                .parse()
                .unwrap();
        let TcpSettings(profile) = read.settings;
        assert_eq!(profile.congestion[..4], *b"bbr\0");
        assert_eq!(
            (profile.notsent_lowat, profile.initial_window),
            (16_384, 20)
        );
        assert_eq!(read.listener, "[::1]:443".parse().ok());
        let read: ListenerSettings = "initial_window=1000".parse().unwrap();
        assert_eq!((read.settings.0.congestion, read.listener), ([0; 16], None));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "bbr",
            "congestion=",
            "congestion=Sixteen",
            "congestion=sixteen_letters_",
            "congestion=a b",
            "congestion=bbr,congestion=cubic",
            "notsent_lowat=0",
            "notsent_lowat=2GiB",
            "initial_window=0",
            "initial_window=1001",
            "initial_window=1,",
            "pacing=1",
            "congestion=bbr@",
            "congestion=bbr@443",
        ] {
            assert!(text.parse::<ListenerSettings>().is_err(), "{text}");
        }
    }
}
