//! Keys and values: which key an operation touches and what is written there.
//!
//! A key is a prefix and a decimal number, padded with zeros to a fixed length, so that the order
//! of numbers is the order of keys and a person can read them. Values are cut at changing places
//! from one block of random bytes: no two neighbours are alike, and none can be compressed away,
//! but making one costs no random numbers.

use bytes::Bytes;

/// In which order operations walk the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// 0, 1, 2, … and from the start again.
    Sequential,
    /// Uniformly at random, from the seed.
    Random,
}

/// The keys of a run.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: Vec<u8>,
    digits: usize,
    space: u64,
    order: Order,
    seed: u64,
}

impl Keys {
    /// Keys of `size` bytes that begin with `prefix`; says why if `space` numbers do not fit.
    pub(crate) fn new(
        prefix: &str,
        size: usize,
        space: u64,
        order: Order,
        seed: u64,
    ) -> Result<Keys, String> {
        let needed = prefix.len() + decimal_digits(space.saturating_sub(1));
        if space == 0 {
            return Err("--key-space-size must be at least 1".into());
        }
        if needed > size {
            return Err(format!(
                "a key space of {space} needs keys of {needed} bytes, --key-size is {size}; \
                 give a larger size or a smaller space"
            ));
        }
        Ok(Keys {
            prefix: prefix.as_bytes().to_vec(),
            digits: size - prefix.len(),
            space,
            order,
            // Scattered, so that neighbouring seeds do not visit the same keys in another order.
            seed: split_mix(seed),
        })
    }

    /// The number of the key that operation `operation` touches.
    pub(crate) fn number(&self, operation: u64) -> u64 {
        match self.order {
            Order::Sequential => operation % self.space,
            Order::Random => split_mix(self.seed.wrapping_add(operation)) % self.space,
        }
    }

    /// Writes the key with this number to the end of `out`.
    pub(crate) fn write(&self, number: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.prefix);
        let start = out.len();
        out.resize(start + self.digits, b'0');
        let mut rest = number;
        for digit in out[start..].iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }

    /// The key with this number.
    pub(crate) fn key(&self, number: u64) -> Bytes {
        let mut out = Vec::with_capacity(self.prefix.len() + self.digits);
        self.write(number, &mut out);
        out.into()
    }

    /// The end of the range that holds all keys with the prefix.
    pub(crate) fn end(&self) -> Bytes {
        let mut end = self.prefix.clone();
        while let Some(last) = end.pop() {
            if last < 0xff {
                end.push(last + 1);
                return end.into();
            }
        }
        Bytes::from_static(&[0])
    }
}

/// The values of a run, all of one size.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    block: Bytes,
    size: usize,
}

/// Distinct starting places of values in the block.
const VALUE_PLACES: usize = 64 * 1024;

impl Values {
    /// Values of `size` bytes from `seed`.
    pub(crate) fn new(size: usize, seed: u64) -> Values {
        let mut block = Vec::with_capacity(size + VALUE_PLACES + 8);
        let mut state = seed;
        while block.len() < size + VALUE_PLACES {
            state = state.wrapping_add(1);
            block.extend_from_slice(&split_mix(state).to_le_bytes());
        }
        Values {
            block: block.into(),
            size,
        }
    }

    /// The value that operation `operation` writes.
    pub(crate) fn value(&self, operation: u64) -> Bytes {
        let place = (split_mix(operation) as usize) % VALUE_PLACES;
        self.block.slice(place..place + self.size)
    }
}

/// SplitMix64's output function: a bijection that scatters neighbouring inputs.
fn split_mix(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn decimal_digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_asked_size_and_sort_like_their_numbers() {
        let keys = Keys::new("k/", 10, 1_000, Order::Sequential, 1).unwrap();
        assert_eq!(keys.key(7).as_ref(), b"k/00000007");
        assert!(keys.key(99) < keys.key(100));
        assert_eq!(keys.number(1_001), 1);
    }

    #[test]
    fn a_space_that_does_not_fit_is_refused_with_both_numbers() {
        let error = Keys::new("abc", 8, 1_000_000, Order::Random, 1).unwrap_err();
        assert!(
            error.contains("9 bytes") && error.contains("is 8"),
            "{error}"
        );
        assert!(Keys::new("abc", 8, 100_000, Order::Random, 1).is_ok());
        assert!(Keys::new("", 8, 0, Order::Random, 1).is_err());
    }

    #[test]
    fn random_order_reaches_the_whole_space_and_repeats_from_its_seed() {
        let keys = Keys::new("", 4, 100, Order::Random, 9).unwrap();
        let mut seen = [false; 100];
        for operation in 0..2_000 {
            let number = keys.number(operation);
            assert_eq!(number, keys.number(operation));
            seen[number as usize] = true;
        }
        assert!(seen.iter().all(|&seen| seen));
        let other = Keys::new("", 4, 100, Order::Random, 10).unwrap();
        assert!((0..100).any(|operation| keys.number(operation) != other.number(operation)));
    }

    #[test]
    fn the_end_of_a_prefix_carries_over_full_bytes() {
        let end = |prefix: &str| Keys::new(prefix, 20, 1, Order::Random, 0).unwrap().end();
        assert_eq!(end("a").as_ref(), b"b");
        assert_eq!(end("").as_ref(), [0]);
    }

    #[test]
    fn values_have_their_size_and_differ_between_operations() {
        let values = Values::new(256, 3);
        assert_eq!(values.value(1).len(), 256);
        assert_ne!(values.value(1), values.value(2));
        assert!(Values::new(0, 3).value(5).is_empty());
    }
}
