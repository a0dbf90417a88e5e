//! A hash that is the same in every run, and numbers that look random.

use std::hash::{Hash, Hasher};

use crate::random::{STEP, mix};

/// The draw with this number, from 0 to below `limit`, in the sequence of this seed.
pub(super) fn draw(seed: u64, number: u64, limit: usize) -> usize {
    let step = number.wrapping_add(1).wrapping_mul(STEP);
    let bits = mix(mix(seed).wrapping_add(step));
    // The product is below `limit << 64`.
    ((u128::from(bits) * limit as u128) >> 64) as usize
}

pub(super) fn hash_of(key: &impl Hash) -> u64 {
    let mut hasher = StableHasher(0xcbf2_9ce4_8422_2325);
    key.hash(&mut hasher);
    hasher.finish()
}

/// FNV-1a, mixed at the end. It has no key and does not depend on the machine.
struct StableHasher(u64);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write(&number.to_le_bytes());
    }

    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    fn write_u128(&mut self, number: u128) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}
