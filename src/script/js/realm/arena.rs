//! The memory of a [`Heap`](super::heap::Heap): blocks cut from one piece, and the few that are
//! too large for it.
//!
//! What the allocator knows lies at the beginning of the piece itself, so that a copy of the piece
//! is complete. A freed block waits for one of its class of sizes, or is split for a smaller one. It
//! is never joined to another: after each call everything is set back anyway.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull, null_mut};
use std::slice;

/// Bytes of the piece; the system commits those that are touched.
const SIZE: usize = 8 << 20;
/// Blocks above this are the system's.
const LARGEST: usize = 1 << 20;
/// Of a block, and of the field before it that says how many bytes it has.
const ALIGN: usize = size_of::<usize>();
/// Classes are steps of this size up to [`FINE`], then eight for each doubling.
const STEP: usize = ALIGN;
const FINE: usize = 512;
const CLASSES: usize = FINE / STEP + 1 + 8 * (LARGEST / FINE).ilog2() as usize;
/// A rest of fewer bytes is not worth splitting off.
const REST: usize = 64;

/// What is compared before it is set back. Two whole blocks that are aligned alike are compared
/// in two thirds of the time in which one is written over the other.
const BLOCK: usize = 1024;
#[derive(PartialEq)]
#[repr(align(64))]
struct Block([u8; BLOCK]);

/// A copy of everything in an arena, as whole blocks.
pub struct Copied(Box<[Block]>);

impl Copied {
    /// Bytes that it takes up.
    pub fn size(&self) -> usize {
        self.0.len() * BLOCK
    }
}

/// Where the piece begins.
#[repr(C)]
struct Head {
    /// Bytes from the beginning that were ever cut off.
    top: usize,
    /// The first of the system's blocks.
    outside: *mut Outside,
    /// A bit for each class of which there are freed blocks.
    any: [u64; CLASSES.div_ceil(64)],
    /// The freed blocks of each class; each holds the address of the next.
    free: [*mut u8; CLASSES],
}

impl Head {
    /// A freed block of this class, or else of the next larger one of which there is any.
    fn take(&mut self, class: usize) -> Option<*mut u8> {
        let mut word = class / 64;
        let mut bits = self.any[word] & (!0 << (class % 64));
        while bits == 0 {
            word += 1;
            bits = *self.any.get(word)?;
        }
        let found = word * 64 + bits.trailing_zeros() as usize;
        let block = self.free[found];
        // SAFETY: a freed block holds the address of the next of its class.
        self.free[found] = unsafe { block.cast::<*mut u8>().read() };
        if self.free[found].is_null() {
            self.any[word] &= !(1 << (found % 64));
        }
        Some(block)
    }

    /// # Safety
    /// The block is one of the piece, with its size before it, and nothing uses it any more.
    unsafe fn give(&mut self, block: *mut u8) {
        // SAFETY: promised by the caller.
        unsafe {
            let class = class_below(Arena::size(block));
            block.cast::<*mut u8>().write(self.free[class]);
            self.free[class] = block;
            self.any[class / 64] |= 1 << (class % 64);
        }
    }
}

/// What stands before a block of the system's.
#[repr(C)]
struct Outside {
    before: *mut Outside,
    next: *mut Outside,
    size: usize,
}

/// One piece of memory.
pub struct Arena(NonNull<u8>);

const PIECE: Layout = match Layout::from_size_align(SIZE, 4096) {
    Ok(layout) => layout,
    Err(_) => panic!("the size is a multiple of the alignment"),
};

impl Arena {
    pub fn new() -> Arena {
        // SAFETY: the layout is not empty.
        let Some(base) = NonNull::new(unsafe { alloc_zeroed(PIECE) }) else {
            handle_alloc_error(PIECE)
        };
        let arena = Arena(base);
        // SAFETY: the piece begins with room for a head, to which nothing refers yet.
        unsafe {
            arena.head().write(Head {
                top: size_of::<Head>(),
                outside: null_mut(),
                any: [0; CLASSES.div_ceil(64)],
                free: [null_mut(); CLASSES],
            });
        }
        arena
    }

    fn head(&self) -> *mut Head {
        self.0.as_ptr().cast()
    }

    /// A block of at least `size` bytes; null if there is none to be had.
    pub fn take(&self, size: usize) -> *mut u8 {
        let Some((class, size)) = class(size) else {
            return self.take_outside(size);
        };
        // SAFETY: blocks lie within the piece, each behind the field with its size; those that are
        // freed are nobody else's, and a new one lies behind all that were cut off before.
        unsafe {
            let head = &mut *self.head();
            if let Some(block) = head.take(class) {
                let rest = Arena::size(block) - size;
                if rest >= ALIGN + REST {
                    set_size(block, size);
                    let rest_of_it = block.add(size + ALIGN);
                    set_size(rest_of_it, rest - ALIGN);
                    head.give(rest_of_it);
                }
                return block;
            }
            if head.top + ALIGN + size > SIZE {
                return self.take_outside(size);
            }
            let block = self.0.as_ptr().add(head.top + ALIGN);
            head.top += ALIGN + size;
            set_size(block, size);
            block
        }
    }

    fn take_outside(&self, size: usize) -> *mut u8 {
        let Some(layout) = outside(size) else {
            return null_mut();
        };
        let head = self.head();
        // SAFETY: the layout has room for what stands before the block, and the list is of blocks
        // that were taken here and not given back yet.
        unsafe {
            let own = alloc(layout).cast::<Outside>();
            if own.is_null() {
                return null_mut();
            }
            let next = (*head).outside;
            own.write(Outside {
                before: null_mut(),
                next,
                size,
            });
            if !next.is_null() {
                (*next).before = own;
            }
            (*head).outside = own;
            own.add(1).cast()
        }
    }

    /// How many bytes a block has.
    ///
    /// # Safety
    /// It was taken from an arena and not given back.
    pub unsafe fn size(block: *mut u8) -> usize {
        // SAFETY: each block has its size before it.
        unsafe { block.sub(ALIGN).cast::<usize>().read() }
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// It was taken from this arena and not given back, and nothing uses it any more.
    pub unsafe fn give(&self, block: *mut u8) {
        if self.holds(block) {
            // SAFETY: a block of this piece, which is the caller's to give.
            return unsafe { (*self.head()).give(block) };
        }
        // SAFETY: as it is not of this piece it was taken from the system, and is in the list.
        unsafe {
            let own = block.cast::<Outside>().sub(1);
            let (before, next) = ((*own).before, (*own).next);
            match before.is_null() {
                true => (*self.head()).outside = next,
                false => (*before).next = next,
            }
            if !next.is_null() {
                (*next).before = before;
            }
            free_outside(own);
        }
    }

    fn holds(&self, block: *mut u8) -> bool {
        let base = self.0.as_ptr() as usize;
        (base..base + SIZE).contains(&(block as usize))
    }

    /// The first so many blocks of the piece.
    ///
    /// # Safety
    /// The piece has so many, and nothing else refers to what is in them meanwhile.
    #[expect(clippy::mut_from_ref, reason = "the piece is not in the arena")]
    unsafe fn blocks(&self, count: usize) -> &mut [Block] {
        // SAFETY: the piece is aligned to more than a block is, was zeroed when it was allocated,
        // and the rest is promised by the caller.
        unsafe { slice::from_raw_parts_mut(self.0.as_ptr().cast(), count) }
    }

    /// A copy of everything in it; `None` if there is anything outside.
    pub fn copy(&self) -> Option<Copied> {
        let head = self.head();
        // SAFETY: no more was cut off than the piece has, which is whole blocks, and nothing
        // changes it meanwhile. There is room for as many in the copy. Pointers are among the bytes,
        // and stay pointers because they are copied without being looked at.
        unsafe {
            let (all, top) = ((*head).outside.is_null(), (*head).top);
            let count = top.div_ceil(BLOCK);
            all.then(|| {
                let mut copy = Vec::<Block>::with_capacity(count);
                ptr::copy_nonoverlapping(self.0.as_ptr().cast(), copy.as_mut_ptr(), count);
                copy.set_len(count);
                // What lies behind the end is nobody's, and is not to come back with each call.
                let end = copy.as_mut_ptr().cast::<u8>().add(top);
                end.write_bytes(0, count * BLOCK - top);
                Copied(copy.into_boxed_slice())
            })
        }
    }

    /// Sets everything to what it was when `copy` was made of it.
    ///
    /// # Safety
    /// The copy is of this arena, and nothing refers to a block that was taken after it.
    pub unsafe fn set(&self, copy: &Copied) {
        self.clear_outside();
        // SAFETY: the copy has no more blocks than the piece, and nothing else uses these now.
        let blocks = unsafe { self.blocks(copy.0.len()) };
        for (now, then) in blocks.iter_mut().zip(&copy.0) {
            if now != then {
                // SAFETY: both are whole blocks, and two of them. As above, without a look at them.
                unsafe { ptr::copy_nonoverlapping(then, now, 1) };
            }
        }
    }

    fn clear_outside(&self) {
        let head = self.head();
        // SAFETY: each block in the list was taken and not given back; none is used any more.
        unsafe {
            let mut next = (*head).outside;
            while let Some(own) = NonNull::new(next) {
                next = own.as_ref().next;
                free_outside(own.as_ptr());
            }
            (*head).outside = null_mut();
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.clear_outside();
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.0.as_ptr(), PIECE) };
    }
}

/// The class whose blocks have at least `size` bytes, and how many a new one has.
fn class(size: usize) -> Option<(usize, usize)> {
    if size > LARGEST {
        return None;
    }
    let step = match size <= FINE {
        true => STEP,
        false => 1 << ((size - 1).ilog2() - 3),
    };
    let room = size.max(1).next_multiple_of(step);
    Some((class_below(room), room))
}

/// The class of a block that has `size` bytes: the largest for which these are enough.
fn class_below(size: usize) -> usize {
    if size <= FINE {
        return size / STEP;
    }
    let doubling = size.ilog2();
    let steps = (size >> (doubling - 3)) - 8;
    FINE / STEP + 8 * (doubling - FINE.ilog2()) as usize + steps
}

/// # Safety
/// Before the block there is room for its size.
unsafe fn set_size(block: *mut u8, size: usize) {
    // SAFETY: promised by the caller.
    unsafe { block.sub(ALIGN).cast::<usize>().write(size) };
}

fn outside(size: usize) -> Option<Layout> {
    let size = size.checked_add(size_of::<Outside>())?;
    Layout::from_size_align(size, ALIGN).ok()
}

/// # Safety
/// The block was taken from the system with [`outside`], and nothing uses it any more.
unsafe fn free_outside(own: *mut Outside) {
    // SAFETY: the layout is the one with which it was taken.
    unsafe {
        if let Some(layout) = outside((*own).size) {
            dealloc(own.cast(), layout);
        }
    }
}

#[cfg(test)]
mod tests;
