//! Which images of a realm there are, and at which of them it stands.

use std::collections::VecDeque;

use super::realm::{Image, Realm};

/// Bytes of images that a host keeps. Past that, the script that ran longest ago is compiled anew
/// when it is called again.
const KEPT: usize = 8 << 20;

/// An image for each script that ran lately.
pub struct Images {
    /// Without a script.
    blank: Image,
    /// The one that ran last comes first.
    scripts: VecDeque<(u32, Image)>,
    now: Now,
}

/// Where the realm stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Now {
    /// A script may have run, or begun to be compiled.
    Anywhere,
    Blank,
    /// Compiled, but not run.
    Loaded(u32),
}

impl Images {
    /// Of a realm that stands at `blank`.
    pub fn new(blank: Image) -> Images {
        Images {
            blank,
            scripts: VecDeque::new(),
            now: Now::Blank,
        }
    }

    /// Takes the realm to where this script is compiled, or else to where none is: `false`. It does
    /// not stay there.
    pub fn go_to(&mut self, realm: &mut Realm, script: u32) -> bool {
        let found = self
            .scripts
            .iter()
            .position(|(number, _)| *number == script);
        if let Some(image) = found.and_then(|at| self.scripts.remove(at)) {
            self.scripts.push_front(image);
        }
        self.go(realm, found.map(|_| script));
        self.now = Now::Anywhere;
        found.is_some()
    }

    /// Takes the realm to where it will likely be wanted next.
    pub fn go_back(&mut self, realm: &mut Realm) {
        if self.now == Now::Anywhere {
            let last = self.scripts.front().map(|(number, _)| *number);
            self.go(realm, last);
        }
    }

    /// To `script`, which is the first of the scripts, or to the blank.
    fn go(&mut self, realm: &mut Realm, script: Option<u32>) {
        let (image, then) = match (script, self.scripts.front()) {
            (Some(number), Some((_, image))) => (image, Now::Loaded(number)),
            _ => (&self.blank, Now::Blank),
        };
        if self.now != then {
            realm.set(image);
            self.now = then;
        }
    }

    /// A script was compiled.
    pub fn keep(&mut self, realm: &Realm, script: u32) {
        // One that is too large is compiled for each of its calls.
        if let Some(image) = realm.image() {
            self.scripts.push_front((script, image));
            let size = |scripts: &VecDeque<(u32, Image)>| -> usize {
                scripts.iter().map(|(_, image)| image.size()).sum()
            };
            while size(&self.scripts) > KEPT && self.scripts.len() > 1 {
                self.scripts.pop_back();
            }
        }
    }
}
