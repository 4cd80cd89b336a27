//! Writes a `newc` cpio archive, the form the kernel unpacks as its first root file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst in the kernel's tree).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Component, Path};

/// An archive in the making; folders are added as files need them.
#[derive(Debug)]
pub(super) struct Archive<W> {
    output: W,
    folders: BTreeSet<String>,
    entries: usize,
    written: usize,
}

impl Archive<BufWriter<File>> {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self::new(BufWriter::new(File::create(path)?)))
    }
}

impl<W: Write> Archive<W> {
    pub(super) fn new(output: W) -> Self {
        Self {
            output,
            folders: BTreeSet::new(),
            entries: 0,
            written: 0,
        }
    }

    /// Adds a file that anyone may read and execute, and the folders it needs.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        let mut folder = String::new();
        let parents = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
        for component in parents.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            if !folder.is_empty() {
                folder.push('/');
            }
            folder.push_str(&name.to_string_lossy());
            if self.folders.insert(folder.clone()) {
                self.entry(&folder, FOLDER, &[])?;
            }
        }
        self.entry(path.trim_start_matches('/'), FILE, content)
    }

    /// Writes the end mark.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let size = u32::try_from(content.len())
            .map_err(|error| io::Error::other(format!("{name}: {error}")))?;
        // Inode, mode, user, group, links, time, size, device ×2, special device ×2, name, check.
        let number = u32::try_from(self.entries).unwrap_or(u32::MAX);
        let length = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let fields = [number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, length, 0];
        let mut head = String::from("070701");
        for field in fields {
            head.push_str(&format!("{field:08x}"));
        }
        self.put(head.as_bytes())?;
        self.put(name.as_bytes())?;
        self.put(b"\0")?;
        self.align()?;
        self.put(content)?;
        self.align()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.output.write_all(bytes)
    }

    fn align(&mut self) -> io::Result<()> {
        let missing = self.written.next_multiple_of(4) - self.written;
        self.put(b"\0\0\0".get(..missing).unwrap_or_default())
    }
}

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_folders_come_before_their_files() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b/c", b"12345").unwrap();
        archive.file("/a/d", b"").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let (mut names, mut at) = (Vec::new(), 0);
        while let Some(head) = bytes.get(at..at + 110) {
            assert_eq!(&head[..6], b"070701");
            let field = |n: usize| {
                let text = std::str::from_utf8(&head[6 + 8 * n..14 + 8 * n]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            let name = &bytes[at + 110..at + 110 + field(11) - 1];
            names.push(String::from_utf8(name.to_vec()).unwrap());
            let content = (at + 110 + field(11)).next_multiple_of(4);
            if names.last().unwrap() == "a/b/c" {
                assert_eq!(&bytes[content..content + field(6)], b"12345");
            }
            at = (content + field(6)).next_multiple_of(4);
        }
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/d", "TRAILER!!!"]);
    }
}
