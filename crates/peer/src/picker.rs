//! Which of a member's addresses is used: the same one until it fails, then the next.

use crate::url::PeerUrl;
use parking_lot::Mutex;

/// See the module.
#[derive(Debug)]
pub(crate) struct Picker(Mutex<Picked>);

#[derive(Debug)]
struct Picked {
    urls: Vec<PeerUrl>,
    at: usize,
}

impl Picker {
    /// Begins with the first of at least one address.
    pub(crate) fn new(urls: Vec<PeerUrl>) -> Picker {
        assert!(
            !urls.is_empty(),
            "a member without an address cannot be reached"
        );
        Picker(Mutex::new(Picked { urls, at: 0 }))
    }

    /// The address to use.
    pub(crate) fn pick(&self) -> PeerUrl {
        let picked = self.0.lock();
        picked.urls[picked.at].clone()
    }

    /// Goes on to the next address, unless another caller already has.
    pub(crate) fn failed(&self, url: &PeerUrl) {
        let mut picked = self.0.lock();
        if picked.urls[picked.at] == *url {
            picked.at = (picked.at + 1) % picked.urls.len();
        }
    }

    /// Takes other addresses.
    pub(crate) fn update(&self, urls: Vec<PeerUrl>) {
        assert!(
            !urls.is_empty(),
            "a member without an address cannot be reached"
        );
        *self.0.lock() = Picked { urls, at: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_left_once_when_it_fails_for_many_at_a_time() {
        let urls = PeerUrl::parse_list("http://a:1,http://b:2").unwrap();
        let picker = Picker::new(urls.clone());
        assert_eq!(picker.pick(), urls[0]);
        picker.failed(&urls[0]);
        picker.failed(&urls[0]);
        assert_eq!(picker.pick(), urls[1]);
        picker.failed(&urls[1]);
        assert_eq!(picker.pick(), urls[0]);
        picker.update(urls[1..].to_vec());
        assert_eq!(picker.pick(), urls[1]);
    }
}
