//! A disk that is soon full.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::Command;

/// A tmpfs of so many MiB; unmounted when dropped.
pub struct SmallDisk {
    pub at: PathBuf,
}

impl SmallDisk {
    /// `None` where there is no root to mount it.
    pub fn mount(at: PathBuf, mib: u32) -> Option<Self> {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            return None;
        }
        std::fs::create_dir(&at).unwrap();
        let size = format!("size={mib}m");
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "doppia-full"]).arg(&at).status().unwrap();
        assert!(status.success(), "root, and yet a tmpfs can't be mounted: this test needs to");
        Some(Self { at })
    }

    /// Takes everything but a little with a file, which gives it back when it is [let go](Ballast::let_go).
    pub fn fill(&self, left_bytes: usize) -> Ballast {
        let at = self.at.join("ballast");
        let mut file = File::create(&at).unwrap();
        let mut taken = 0;
        while file.write_all(&[7; 8 * 1024]).is_ok() {
            taken += 8 * 1024;
        }
        file.set_len(u64::try_from(taken - left_bytes).unwrap()).unwrap();
        Ballast { at }
    }

    pub fn enlarge(&self, mib: u32) {
        let size = format!("remount,size={mib}m");
        let status = Command::new("mount").args(["-o", &size]).arg(&self.at).status().unwrap();
        assert!(status.success());
    }
}

/// What takes the room.
pub struct Ballast {
    at: PathBuf,
}

impl Ballast {
    pub fn let_go(self) {
        std::fs::remove_file(self.at).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is still ending may have files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}
