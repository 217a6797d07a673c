//! The heap of one runtime, as the engine's allocator and for who sets it back.

use std::ptr;
use std::rc::Rc;

use rquickjs::allocator::Allocator;

use super::arena::{Arena, Copied};

/// Holds all that one engine has allocated. Clones are the same heap.
#[derive(Clone)]
pub struct Heap(Rc<Arena>);

/// What a heap was at one moment.
pub struct Image {
    of: Rc<Arena>,
    copied: Copied,
}

impl Image {
    /// Bytes that it takes up.
    pub fn size(&self) -> usize {
        self.copied.size()
    }
}

impl Heap {
    pub fn new() -> Heap {
        Heap(Rc::new(Arena::new()))
    }

    /// What it is now; `None` if it has a block that is too large to be set back.
    pub fn image(&self) -> Option<Image> {
        let copied = self.0.copy()?;
        let of = self.0.clone();
        Some(Image { of, copied })
    }

    /// Makes it what it was; an image of another heap changes nothing.
    ///
    /// # Safety
    /// Nothing outside of the heap refers to anything in it that was not there when the image was
    /// made; and what the heap referred to then, outside of it, is there still.
    pub unsafe fn set(&self, image: &Image) {
        if Rc::ptr_eq(&self.0, &image.of) {
            // SAFETY: the image is of this arena; the rest is promised by the caller.
            unsafe { self.0.set(&image.copied) };
        }
    }
}

// SAFETY: blocks are of at least the size that was asked for, aligned to that of `usize`, and know
// their own size; null stands for what cannot be had.
unsafe impl Allocator for Heap {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        self.0.take(size)
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        let Some(size) = count.checked_mul(size) else {
            return ptr::null_mut();
        };
        let block = self.0.take(size);
        if !block.is_null() {
            // SAFETY: the block has so many bytes.
            unsafe { block.write_bytes(0, size) };
        }
        block
    }

    unsafe fn dealloc(&mut self, block: *mut u8) {
        // SAFETY: promised by the caller.
        unsafe { self.0.give(block) };
    }

    unsafe fn realloc(&mut self, block: *mut u8, size: usize) -> *mut u8 {
        if block.is_null() {
            return self.0.take(size);
        }
        // SAFETY: the block is one of this heap, as the caller promises; it is given back after its
        // bytes were copied.
        unsafe {
            let old = Arena::size(block);
            if size <= old && size > old / 2 {
                return block;
            }
            let new = self.0.take(size);
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, old.min(size));
                self.0.give(block);
            }
            new
        }
    }

    unsafe fn usable_size(block: *mut u8) -> usize {
        // SAFETY: promised by the caller.
        unsafe { Arena::size(block) }
    }
}
