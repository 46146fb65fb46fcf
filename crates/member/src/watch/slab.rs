//! Values under small numbers that are used again.

/// See the module.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(at) = self.free.pop() {
            self.places[at as usize] = Some(value);
            return at;
        }
        self.places.push(Some(value));
        u32::try_from(self.places.len() - 1).expect("fewer than 2^32 values fit into memory")
    }

    /// # Panics
    /// If nothing is there, as in the other methods: a number was used after it was given back.
    pub(super) fn remove(&mut self, at: u32) -> T {
        let value = self.places[at as usize].take();
        self.free.push(at);
        value.unwrap_or_else(|| panic!("nothing is at place {at}"))
    }

    pub(super) fn get(&self, at: u32) -> &T {
        let value = self.places[at as usize].as_ref();
        value.unwrap_or_else(|| panic!("nothing is at place {at}"))
    }

    pub(super) fn get_mut(&mut self, at: u32) -> &mut T {
        let value = self.places[at as usize].as_mut();
        value.unwrap_or_else(|| panic!("nothing is at place {at}"))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().flatten()
    }
}
