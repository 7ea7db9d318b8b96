//! What cannot be had without `unsafe`. A second descriptor of the socket below a stream of pingora's, which tells no more
//! of it than its number: one that can be waited for elsewhere, and be sent to without copying; or its connection reset. A
//! memory file's pages as bytes. And how long a turn a thread asks the kernel for.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};
use std::slice::from_raw_parts;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as TcpStream;
use prometheus::IntGauge;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::pwrite;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::net::connect_unspec;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdRegisterError};

use crate::lent::socket::Lent;

/// A second descriptor of a stream's socket.
///
/// Errors: there is no socket below, or this process has no descriptors left.
pub fn second(stream: &TcpStream) -> io::Result<OwnedFd> {
    let number = stream.as_raw_fd();
    if number < 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: the number is that of a descriptor the stream owns and closes when it is dropped, and the stream is
    // borrowed for longer than this is used.
    let first = unsafe { BorrowedFd::borrow_raw(number) };
    first.try_clone_to_owned()
}

/// Ends the connection of a stream's socket by a reset, at once; what was not sent yet is not.
///
/// Errors: there is no socket of TCP below.
pub fn reset(stream: &Stream) -> io::Result<()> {
    let number = stream.id();
    if number < 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: a stream is known by the number of the descriptor below it, which stays open while the stream is borrowed.
    let socket = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(connect_unspec(socket)?)
}

/// A socket whose readiness is told to the runtime this is called on.
///
/// Errors, with the socket: the runtime cannot wait for it.
pub fn awaited(lent: Lent, interest: Interest) -> Result<AsyncFd<Lent>, (Lent, io::Error)> {
    // SAFETY: a lent socket owns its descriptor, which is open and the same one until it is dropped.
    let awaited = unsafe { AsyncFd::register_with_interest(lent, interest) };
    awaited.map_err(AsyncFdRegisterError::into_parts)
}

/// Asks the kernel for turns of this length for the calling thread, whose policy and nice value stay. A thread that wakes up
/// and asks for shorter turns than the one that runs does not wait until that one's turn is over (Linux 6.12, "EEVDF", custom
/// slices of 0.1 to 100 ms); older kernels take the question and do nothing.
///
/// Errors: the system refuses the call, or the thread has a policy without turns.
pub fn ask_for_turns_of(length: Duration) -> io::Result<()> {
    let mut attributes = turns()?;
    if !TIME_SHARED.contains(&attributes.sched_policy) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    attributes.sched_runtime = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the kernel reads as many bytes as `size` says, which is what the structure has; 0 is the calling thread.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `SCHED_OTHER` and `SCHED_BATCH`.
const TIME_SHARED: [u32; 2] = [0, 3];

/// How the calling thread is scheduled.
fn turns() -> io::Result<libc::sched_attr> {
    let mut attributes = MaybeUninit::<libc::sched_attr>::zeroed();
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes no more than these bytes, which are there.
    let done =
        unsafe { libc::syscall(libc::SYS_sched_getattr, 0, attributes.as_mut_ptr(), size, 0) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is made of integers, all of which were set.
    Ok(unsafe { attributes.assume_init() })
}

/// A file in memory of a length that never changes, written once from its beginning to its end and read as bytes.
#[derive(Debug)]
pub struct Pages {
    file: OwnedFd,
    begin: NonNull<c_void>,
    length: usize,
    count: IntGauge,
}

// SAFETY: what the pointer leads to is mapped until this is dropped, and never written through it.
unsafe impl Send for Pages {}
// SAFETY: as above; bytes are lent only after they were written, and not written again ([`PagesWriter`]).
unsafe impl Sync for Pages {}

impl Pages {
    pub fn length(&self) -> usize {
        self.length
    }
}

impl AsFd for Pages {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and who lends its bytes holds it.
        let _ = unsafe { munmap(self.begin.as_ptr(), self.length) };
        self.count.dec();
    }
}

/// Writes pages from the first byte on: there is one of them for each, so that what was lent is never written.
#[derive(Debug)]
pub struct PagesWriter {
    pages: Arc<Pages>,
    written: usize,
}

impl PagesWriter {
    /// Pages of so many bytes, which take no memory before they are written. `count` counts them as long as they are
    /// there.
    ///
    /// Errors: the length is 0, or the process may have no more descriptors or mappings.
    pub fn new(length: usize, count: IntGauge) -> io::Result<PagesWriter> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = memfd_create("forebay-body", flags)?;
        ftruncate(&file, length as u64)?;
        // A page that is no more would end the process when it is read.
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // SAFETY: a new mapping where the kernel wants it; nothing else is mapped over.
        let begin =
            unsafe { mmap(null_mut(), length, ProtFlags::READ, MapFlags::SHARED, &file, 0)? };
        let begin = NonNull::new(begin).ok_or(io::ErrorKind::OutOfMemory)?;
        count.inc();
        Ok(PagesWriter { pages: Arc::new(Pages { file, begin, length, count }), written: 0 })
    }

    pub fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    pub fn written(&self) -> usize {
        self.written
    }

    /// Writes bytes behind what was written, and lends them from there.
    ///
    /// Errors: there is no memory for them, or they go beyond the end; nothing of them counts then.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<Bytes> {
        let at = self.written;
        if bytes.len() > self.pages.length - at {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut done = 0;
        while done < bytes.len() {
            match pwrite(&self.pages.file, &bytes[done..], (at + done) as u64)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => done += count,
            }
        }
        self.written += done;
        Ok(self.lend(at, done))
    }

    /// All that was written.
    pub fn all(&self) -> Bytes {
        self.lend(0, self.written)
    }

    fn lend(&self, at: usize, length: usize) -> Bytes {
        Bytes::from_owner(Part { pages: Arc::clone(&self.pages), at, length })
    }
}

/// Bytes of pages that were written.
struct Part {
    pages: Arc<Pages>,
    at: usize,
    length: usize,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: only [`PagesWriter::lend`] makes a part, of bytes within the mapping that were written and are not written
        // again; the file cannot shrink, and the part holds the mapping.
        unsafe { from_raw_parts(self.pages.begin.as_ptr().cast::<u8>().add(self.at), self.length) }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{SendFlags, send};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream as Socket};

    use super::*;

    fn count() -> IntGauge {
        IntGauge::new("pages", "pages").unwrap()
    }

    #[tokio::test]
    async fn a_second_descriptor_is_one_of_the_same_socket_and_ends_by_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream =
            TcpStream::from(Socket::connect(listener.local_addr().unwrap()).await.unwrap());
        let (mut accepted, _) = listener.accept().await.unwrap();
        let descriptor = second(&stream).unwrap();
        assert_ne!(descriptor.as_raw_fd(), stream.as_raw_fd());
        drop(descriptor);
        let descriptor = second(&stream).unwrap();
        assert_eq!(send(&descriptor, b"one", SendFlags::empty()).unwrap(), 3);
        drop(stream);
        assert_eq!(send(&descriptor, b"two", SendFlags::empty()).unwrap(), 3);
        drop(descriptor);
        let mut read = String::new();
        accepted.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "onetwo");
    }

    #[test]
    fn what_is_written_is_lent_from_there_and_stays_after_all_else_is_gone() {
        let mut writer = PagesWriter::new(10_000, count()).unwrap();
        let first = writer.write(&[1; 5000]).unwrap();
        let second = writer.write(&[2; 3000]).unwrap();
        assert!(writer.write(&[3; 2001]).is_err(), "it would go beyond the end");
        let third = writer.write(&[3; 2000]).unwrap();
        assert_eq!((first.len(), second.len(), third.len()), (5000, 3000, 2000));
        let all = writer.all();
        assert_eq!(first.as_ptr(), all.as_ptr(), "nothing is copied");
        let mut read = vec![0; 10_000];
        rustix::io::pread(writer.pages(), &mut read, 0).unwrap();
        assert!(all == read);
        drop((writer, first, all));
        assert!(second.iter().all(|byte| *byte == 2));
    }

    #[test]
    fn nobody_can_take_pages_away_from_who_reads_them() {
        let writer = PagesWriter::new(4096, count()).unwrap();
        assert!(ftruncate(writer.pages(), 0).is_err());
        assert!(PagesWriter::new(0, count()).is_err());
    }

    #[test]
    fn a_thread_asks_for_short_turns_and_is_else_what_it_was() {
        let asked = Duration::from_micros(100);
        let seen = std::thread::spawn(move || {
            let before = turns().unwrap();
            ask_for_turns_of(asked).unwrap();
            (before, turns().unwrap())
        });
        let (before, after) = seen.join().unwrap();
        assert_eq!(
            (before.sched_policy, before.sched_nice),
            (after.sched_policy, after.sched_nice)
        );
        let name = rustix::system::uname();
        let mut release = name.release().to_str().unwrap().split(['.', '-']);
        let mut number = || release.next().unwrap().parse::<u32>().unwrap();
        if (number(), number()) >= (6, 12) {
            assert_eq!(u128::from(after.sched_runtime), asked.as_nanos());
        }
    }
}
