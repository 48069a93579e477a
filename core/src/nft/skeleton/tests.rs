use super::*;

#[test]
fn print_it() {
    extern crate std;
    for family in [Family::Ipv4, Family::Ipv6] {
        let options = Options::default();
        let skeleton = Skeleton {
            options: &options,
            family,
        };
        std::println!(
            "{}{}{}",
            skeleton.body(),
            skeleton.sticky(10800, 0),
            skeleton.hooks()
        );
    }
}
