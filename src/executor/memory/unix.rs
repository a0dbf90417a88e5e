//! Stacks from `mmap`, two mappings each: a guard at the low end, and the stack above it.
#![expect(
    unsafe_code,
    reason = "maps memory, protects it, drops its pages and unmaps it"
)]

use std::io;
use std::ptr::{self, NonNull};

use corosensei::stack::valgrind::ValgrindStackRegistration;
use corosensei::stack::{Stack, StackPointer};

use super::KEPT_BYTES;

/// How much lies below a stack that nobody may touch.
const GUARD_BYTES: usize = 64 << 10;

/// What the mappings are beyond anonymous and private.
///
/// With both flags Linux neither sets memory aside for what is never touched, nor, since 6.7,
/// makes a huge page of the first touch.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAP_FLAGS: libc::c_int = libc::MAP_NORESERVE | libc::MAP_STACK;
/// OpenBSD ends a process whose stack is not marked as one.
#[cfg(target_os = "openbsd")]
const MAP_FLAGS: libc::c_int = libc::MAP_STACK;
/// On other systems `MAP_STACK` is not there, or asks the system for a stack that grows by itself.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "openbsd")))]
const MAP_FLAGS: libc::c_int = 0;

/// The advice by which pages are given back. On Linux it takes them at once.
#[cfg(not(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "illumos",
    target_os = "solaris",
)))]
const GIVE_BACK: libc::c_int = libc::MADV_DONTNEED;
/// The advice by which pages are given back. These systems take them when they need some; the
/// advice that Linux understands would change nothing here.
#[cfg(any(
    target_vendor = "apple",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "illumos",
    target_os = "solaris",
))]
const GIVE_BACK: libc::c_int = libc::MADV_FREE;

/// The memory of one stack.
pub(crate) struct StackMemory {
    base: StackPointer,
    limit: StackPointer,
    depths: Depths,
    /// Tells Valgrind about the stack, and stands before the mapping so that it is dropped first.
    _registration: ValgrindStackRegistration,
    /// Unmapped when it is dropped.
    _mapping: Mapping,
}

/// Maps a stack of so many bytes, rounded up to whole pages, with a guard below it.
pub(super) fn map(bytes: usize) -> io::Result<StackMemory> {
    let page = page_bytes();
    let guard = GUARD_BYTES.next_multiple_of(page);
    let (room, whole) = bytes
        .checked_next_multiple_of(page)
        .and_then(|room| Some((room, room.checked_add(guard)?)))
        .ok_or(io::ErrorKind::OutOfMemory)?;
    let mapping = Mapping::new(whole)?;
    // SAFETY: the guard is a part of the mapping.
    let usable = unsafe { mapping.start.add(guard) };
    // SAFETY: these are the other pages of the mapping, and nobody has a reference into them.
    let refused = unsafe {
        libc::mprotect(
            usable.as_ptr().cast(),
            room,
            libc::PROT_READ | libc::PROT_WRITE,
        )
    };
    if refused != 0 {
        return Err(io::Error::last_os_error());
    }
    // Corosensei makes pointers of these addresses again.
    let limit = mapping.start.as_ptr().expose_provenance();
    let address = |address| StackPointer::new(address).expect("a mapping does not lie at zero");
    Ok(StackMemory {
        base: address(limit + whole),
        limit: address(limit),
        depths: Depths {
            start: usable,
            bytes: room.saturating_sub(KEPT_BYTES.next_multiple_of(page)),
        },
        _registration: ValgrindStackRegistration::new(mapping.start.as_ptr(), whole),
        _mapping: mapping,
    })
}

fn page_bytes() -> usize {
    // SAFETY: the call has no conditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).expect("a system knows the size of its pages")
}

// SAFETY: the pages from `limit` to `base` belong to this value until it is dropped. The lowest
// are the guard; the others can be written, and are as many as were asked for: at least as many
// as the trait demands. Both ends are aligned to pages.
unsafe impl Stack for StackMemory {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// Pages that nobody else has.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// Maps pages that nobody may touch.
    ///
    /// Nothing has to be taken back if a guard cannot be had: it is there before the stack is.
    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: the system picks an address where nothing is mapped.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | MAP_FLAGS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).expect("a mapping does not lie at zero");
        Ok(Self { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the pages were mapped by `new`, and whoever used them is gone with the value.
        let refused = unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
        // Where the system has merged the mapping with one beside it, it may lack a mapping for
        // the rest; the pages are then leaked.
        debug_assert!(
            refused == 0 || io::Error::last_os_error().kind() == io::ErrorKind::OutOfMemory
        );
    }
}

/// The part of a stack that lies below the frames of a stack at rest.
#[derive(Clone, Copy)]
pub(crate) struct Depths {
    start: NonNull<u8>,
    bytes: usize,
}

impl Depths {
    pub(crate) fn of(memory: &StackMemory) -> Self {
        memory.depths
    }

    /// Whether this address lies in the part.
    pub(crate) fn contain(self, address: usize) -> bool {
        let start = self.start.addr().get();
        (start..start + self.bytes).contains(&address)
    }

    /// Gives the pages of the part back to the operating system; they are new when they are
    /// touched again.
    ///
    /// A system that does not take them, from a process that has locked its memory for one, is
    /// left alone: the pages go on to be used.
    ///
    /// # Safety
    ///
    /// The stack's memory has not been dropped, and nothing in the part is used any more: its
    /// content is lost.
    pub(crate) unsafe fn give_back(self) {
        if self.bytes == 0 {
            return;
        }
        // SAFETY: the pages are mapped and their content is of no use, by this method's contract.
        // Their protection is not changed.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.bytes, GIVE_BACK) };
    }
}
