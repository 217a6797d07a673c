//! The memory of a [`Heap`](super::heap::Heap): blocks cut from one piece, and the few that are
//! too large for it.
//!
//! What the allocator knows lies at the beginning of the piece itself, so that a copy of the piece
//! is complete. A freed block waits for one of its class of sizes, or is split for a smaller one. It
//! is never joined to another: after each call everything is set back anyway.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull, null_mut};

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

    /// A copy of everything in it; `None` if there is anything outside.
    pub fn copy(&self) -> Option<Box<[MaybeUninit<u8>]>> {
        let head = self.head();
        // SAFETY: so much of the piece was cut off, and nothing changes it meanwhile.
        unsafe {
            let all = (*head).outside.is_null();
            all.then(|| std::slice::from_raw_parts(self.0.as_ptr().cast(), (*head).top).into())
        }
    }

    /// Sets everything to what it was when `copy` was made of it.
    ///
    /// # Safety
    /// The copy is of this arena, and nothing refers to a block that was taken after it.
    pub unsafe fn set(&self, copy: &[MaybeUninit<u8>]) {
        self.clear_outside();
        // SAFETY: the copy is not longer than the piece.
        unsafe { ptr::copy_nonoverlapping(copy.as_ptr(), self.0.as_ptr().cast(), copy.len()) };
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_class_has_room_for_its_sizes_and_for_little_more() {
        let mut last = (0, 0);
        for size in 1..=LARGEST {
            let (class, room) = class(size).unwrap();
            assert!(
                room >= size && room <= size.next_multiple_of(STEP) * 9 / 8,
                "{size}"
            );
            assert!(
                class_below(size) == class || class_below(size) == class - 1,
                "{size}"
            );
            assert!(class < CLASSES && room.is_multiple_of(ALIGN), "{size}");
            assert!(
                last == (class, room) || last.0 < class && last.1 < size,
                "{size}"
            );
            last = (class, room);
        }
        assert_eq!(last, (CLASSES - 1, LARGEST));
        assert_eq!(class(0), class(1));
        assert_eq!(class(LARGEST + 1), None);
    }

    #[test]
    fn what_no_memory_has_room_for_is_refused() {
        let arena = Arena::new();
        for size in [isize::MAX as usize, usize::MAX - 8, usize::MAX] {
            assert!(arena.take(size).is_null());
        }
        assert!(arena.copy().is_some());
    }

    #[test]
    fn what_lies_outside_cannot_be_copied_and_is_given_back() {
        let arena = Arena::new();
        let empty = arena.copy().unwrap();
        let blocks: Vec<_> = (0..3).map(|_| arena.take(LARGEST + 1)).collect();
        assert!(arena.copy().is_none());
        // SAFETY: taken above, not used any more.
        unsafe {
            arena.give(blocks[1]);
            arena.set(&empty);
        }
        assert_eq!(arena.copy().unwrap().len(), empty.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Blocks keep their bytes whatever is taken and given back around them, within the piece
        /// and beyond its end; and setting it back finds the bytes of before.
        #[test]
        fn blocks_do_not_touch(steps in prop::collection::vec((any::<u8>(), 0usize..1_200_000), 1..100)) {
            let arena = Arena::new();
            let first = arena.take(100);
            // SAFETY: blocks are written and read within their sizes while they are taken.
            unsafe {
                first.write_bytes(7, 100);
                let copy = arena.copy().unwrap();
                let mut held: Vec<(*mut u8, u8)> = Vec::new();
                for (fill, size) in steps {
                    if size % 3 == 0 && !held.is_empty() {
                        let (block, fill) = held.swap_remove(size % held.len());
                        let bytes = std::slice::from_raw_parts(block, Arena::size(block));
                        prop_assert!(bytes.iter().all(|byte| *byte == fill));
                        arena.give(block);
                    } else {
                        let block = arena.take(size);
                        prop_assert!(Arena::size(block) >= size && (block as usize).is_multiple_of(ALIGN));
                        block.write_bytes(fill, Arena::size(block));
                        held.push((block, fill));
                    }
                }
                for (block, fill) in held {
                    let bytes = std::slice::from_raw_parts(block, Arena::size(block));
                    prop_assert!(bytes.iter().all(|byte| *byte == fill));
                }
                first.write_bytes(8, 100);
                arena.set(&copy);
                prop_assert!(std::slice::from_raw_parts(first, 100).iter().all(|byte| *byte == 7));
            }
        }
    }
}
