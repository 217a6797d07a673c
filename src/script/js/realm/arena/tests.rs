//! Blocks keep what they hold, and an arena that is set back is what it was.

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
    assert_eq!(arena.copy().unwrap().size(), empty.size());
}

#[test]
fn what_was_left_behind_the_end_is_in_no_image() {
    let arena = Arena::new();
    let empty = arena.copy().unwrap();
    // SAFETY: the bytes are those of the block, which is not used any more when it is set back.
    unsafe {
        arena.take(3 * BLOCK).write_bytes(9, 3 * BLOCK);
        arena.set(&empty);
    }
    let copy = arena.copy().unwrap();
    let last = &copy.0.last().unwrap().0;
    let end = empty.0.last().unwrap().0;
    assert!(*last == end && last.ends_with(&[0; 8]));
}

#[test]
fn one_byte_anywhere_is_set_back() {
    let arena = Arena::new();
    let held = arena.take(20 * BLOCK + 77);
    // SAFETY: the bytes are those of the piece, and of a block within its size, while no other
    // reference to them is in use.
    unsafe {
        for at in 0..20 * BLOCK + 77 {
            held.add(at).write((at % 251) as u8);
        }
        let copy = arena.copy().unwrap();
        let bytes = |arena: &Arena| slice::from_raw_parts(arena.0.as_ptr(), copy.size()).to_vec();
        let before = bytes(&arena);
        for at in (0..copy.size()).step_by(61).chain([copy.size() - 1]) {
            // What is behind the head is not used by the arena itself.
            let at = at.max(size_of::<Head>());
            *arena.0.as_ptr().add(at) ^= 1;
            arena.set(&copy);
            assert!(bytes(&arena) == before, "{at}");
        }
        // The head itself, and everything at once.
        arena.take(100);
        arena.give(held);
        held.write_bytes(3, 20 * BLOCK + 77);
        arena.set(&copy);
        assert!(bytes(&arena) == before);
    }
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
