//! What differs between operating systems.
//!
//! Elsewhere than on Unix there are no modes, owners and inode numbers to look at: the rules that need them hold on
//! Unix only.

pub(super) use self::imp::{
    create_dir, free_bytes, has_none, intruders, is_remote, no_follow, out_of_handles, private, read_at_once,
    same_file, same_rights,
};

#[cfg(unix)]
mod imp {
    use std::fs::{DirBuilder, Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use rustix::fs::OFlags;
    use rustix::io::Errno;

    /// Makes `open` refuse a symbolic link, and not wait for the other end of a pipe.
    pub(in super::super) fn no_follow(options: &mut OpenOptions) -> &mut OpenOptions {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        options.custom_flags(flags.bits().cast_signed())
    }

    /// Makes a file that `open` creates readable and writable by its owner alone.
    pub(in super::super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
        options.mode(0o600)
    }

    /// Creates a directory, and the missing ones above it, for their owner alone.
    pub(in super::super) fn create_dir(path: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// How others than this user could put files into the directory, and what to do about it.
    pub(in super::super) fn intruders(directory: &Metadata) -> Option<&'static str> {
        if directory.uid() != rustix::process::geteuid().as_raw() {
            return Some("belongs to another user, who could plant entries: choose a directory of this user's");
        }
        if directory.mode() & 0o022 != 0 {
            return Some("is writable by others, who could plant entries: run `chmod go-w` on it");
        }
        None
    }

    pub(in super::super) fn same_file(a: &Metadata, b: &Metadata) -> bool {
        a.dev() == b.dev() && a.ino() == b.ino()
    }

    /// Whether both give the same users the same rights.
    pub(in super::super) fn same_rights(a: &Metadata, b: &Metadata) -> bool {
        (a.uid(), a.mode()) == (b.uid(), b.mode())
    }

    /// How many bytes this user can still write to the disk of a directory.
    pub(in super::super) fn free_bytes(directory: &Path) -> Option<u64> {
        let found = rustix::fs::statvfs(directory).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Whether a directory lies on a file system of another machine, as far as that is known: NFS, SMB, CIFS.
    #[cfg(target_os = "linux")]
    pub(in super::super) fn is_remote(directory: &Path) -> bool {
        let kind = rustix::fs::statfs(directory).map(|found| found.f_type as u64 & 0xffff_ffff);
        matches!(kind, Ok(0x6969 | 0x517b | 0xff53_4d42 | 0xfe53_4d42))
    }

    #[cfg(not(target_os = "linux"))]
    pub(in super::super) fn is_remote(_: &Path) -> bool {
        false
    }

    /// Reads a regular file of at most so many bytes without following a link, if no part of that has to wait for a disk.
    #[cfg(target_os = "linux")]
    pub(in super::super) fn read_at_once(path: &Path, most: usize) -> io::Result<Vec<u8>> {
        use rustix::fs::{CWD, Mode, ResolveFlags, openat2};
        use rustix::io::{ReadWriteFlags, preadv2};
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = std::fs::File::from(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?);
        let found = file.metadata()?;
        let length = usize::try_from(found.len()).unwrap_or(usize::MAX);
        if !found.is_file() || length > most {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut bytes = vec![0; length];
        let read = preadv2(&file, &mut [io::IoSliceMut::new(&mut bytes)], 0, ReadWriteFlags::NOWAIT)?;
        // Some kernels give fewer bytes than there are.
        if read == length { Ok(bytes) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    #[cfg(not(target_os = "linux"))]
    pub(in super::super) fn read_at_once(_: &Path, _: usize) -> io::Result<Vec<u8>> {
        Err(Errno::NOSYS.into())
    }

    /// Whether the system, the file system or a sandbox has no such reads.
    pub(in super::super) fn has_none(error: &io::Error) -> bool {
        let refused = [Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL, Errno::PERM];
        Errno::from_io_error(error).is_some_and(|errno| refused.contains(&errno))
    }

    pub(in super::super) fn out_of_handles(error: &io::Error) -> bool {
        Errno::from_io_error(error).is_some_and(|errno| matches!(errno, Errno::MFILE | Errno::NFILE))
    }
}

#[cfg(not(unix))]
mod imp {
    use std::fs::{self, Metadata, OpenOptions};
    use std::io;
    use std::path::Path;

    pub(in super::super) fn no_follow(options: &mut OpenOptions) -> &mut OpenOptions {
        options
    }

    pub(in super::super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
        options
    }

    pub(in super::super) fn create_dir(path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    pub(in super::super) fn free_bytes(_: &Path) -> Option<u64> {
        None
    }

    pub(in super::super) fn is_remote(_: &Path) -> bool {
        false
    }

    pub(in super::super) fn intruders(_: &Metadata) -> Option<&'static str> {
        None
    }

    pub(in super::super) fn same_file(_: &Metadata, _: &Metadata) -> bool {
        true
    }

    pub(in super::super) fn same_rights(_: &Metadata, _: &Metadata) -> bool {
        true
    }

    pub(in super::super) fn read_at_once(_: &Path, _: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in super::super) fn has_none(_: &io::Error) -> bool {
        true
    }

    pub(in super::super) fn out_of_handles(_: &io::Error) -> bool {
        false
    }
}
