//! How one of an endpoint set's slots is drawn.

use super::{PORTS, Skeleton};
use crate::nft::{Set, SizeClass};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// How often a slot without endpoint is drawn again before the class below, where every slot is filled, decides.
const DRAWS: usize = 8;

impl Skeleton<'_> {
    /// The rules that draw one of so many slots. There is one of each kind only: the kernel goes through all rules that
    /// ask a map whenever the map is given an element (`nft_add_set_elem`).
    pub(super) fn draw(&self, size: SizeClass, text: &mut String) {
        let (ip, slots) = (self.ip(), size.slots());
        let drawn = format!("{} . numgen random mod {slots}", self.set_of_ticket());
        let what = format!("connects to the endpoint of one of {slots} slots, if it has one");
        text.push_str(&self.chain(&format!("draw-{slots}"), &what));
        let _ = writeln!(
            text,
            "  {PORTS} dnat {ip} to {drawn} map @{}\n}}",
            Set::Slots
        );
        let what = format!("writes the endpoint's ticket of one of {slots} slots, if it has one");
        text.push_str(&self.chain(&format!("draw-ticket-{slots}"), &what));
        let _ = writeln!(
            text,
            "  {ip} daddr set {drawn} map @{}\n}}",
            Set::StickySlots
        );
    }

    /// Draws slots until one has an endpoint, and connects to it.
    pub(super) fn pick(&self, size: SizeClass, text: &mut String) {
        let slots = size.slots();
        let what = format!("one of {slots} slots, which an endpoint has");
        text.push_str(&self.chain(&format!("pick-{slots}"), &what));
        for drawn in draws(size) {
            let _ = writeln!(text, "  jump draw-{drawn}");
        }
        text.push_str("  goto missed\n}\n");
    }

    /// Draws slots, and leaves the last endpoint's ticket that there was. What is certain goes first.
    pub(super) fn choose(&self, size: SizeClass, text: &mut String) {
        let slots = size.slots();
        let what = format!("the ticket of an endpoint in one of {slots} slots");
        text.push_str(&self.chain(&format!("choose-{slots}"), &what));
        for drawn in draws(size).into_iter().rev() {
            let _ = writeln!(text, "  jump draw-ticket-{drawn}");
        }
        text.push_str("}\n");
    }
}

/// Of how many slots one is drawn, time after time.
///
/// The class below is all filled, so the draw after the last decides. The very last is for packets that are here
/// while slots are deleted: slot 0 is there as long as there is any endpoint.
fn draws(size: SizeClass) -> Vec<u32> {
    let mut draws = if size.is_exact() {
        Vec::from([size.slots()])
    } else {
        alloc::vec![size.slots(); DRAWS]
    };
    let below = size.below().filter(|_| !size.is_exact());
    draws.extend(below.map(SizeClass::slots));
    draws.extend((size.slots() > 1).then_some(1));
    draws
}
