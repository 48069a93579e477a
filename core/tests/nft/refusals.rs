//! What nft or the kernel refuses, and what is said then. A kernel that lacks something is one behind an `nft` that
//! refuses to use it.

use portolan::nft::{NftCommand, Table, TableError, TableOptions};

use crate::kernel::in_namespace;
use crate::life::nft;
use crate::scene::{CLIENT, Scene, connect};

/// An `nft` behind a shell script that has its input in `$input`.
fn behind(script: &str) -> TableOptions {
    let script = format!("input=$(cat)\n{script}\nprintf '%s\\n' \"$input\" | exec nft \"$@\"");
    let words = ["sh", "-c", &script, "nft"].map(String::from);
    TableOptions {
        nft: NftCommand::new(words.into()),
        ..TableOptions::default()
    }
}

fn unsupported(script: &str) -> String {
    match Table::open(behind(script)) {
        Err(error @ TableError::Unsupported(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_kernel_lacks_is_named_before_anything_is_served() {
    in_namespace(
        "what_a_kernel_lacks_is_named_before_anything_is_served",
        || {
            for (word, feature) in [
                ("numgen", "numgen (CONFIG_NFT_NUMGEN)"),
                ("masquerade", "masquerade (CONFIG_NFT_MASQ)"),
                ("fib", "fib (CONFIG_NFT_FIB_IPV4, CONFIG_NFT_FIB_IPV6)"),
                ("jhash", "jhash (CONFIG_NFT_HASH)"),
            ] {
                let said = unsupported(&format!(
                    "case \"$input\" in *{word}*) echo 'Error: No such file or directory' >&2; exit 1;; esac"
                ));
                let expected = format!("the kernel has no {feature}");
                assert!(said.contains(&expected), "{word}: {said}");
                assert!(said.starts_with("nftables cannot be used here: "), "{said}");
            }
            let said = unsupported(
                "[ \"$1\" = --version ] && { echo 'nftables v0.9.8 (E.D.S.)'; exit; }; exit 1",
            );
            assert!(
                said.contains("nftables v0.9.8") && said.contains("at least 1.0.6 is needed"),
                "{said}"
            );
            let said = unsupported(
                "[ -n \"$input\" ] && { echo 'Error: Operation not permitted' >&2; exit 1; }",
            );
            assert!(said.contains("CAP_NET_ADMIN"), "{said}");
            assert_eq!(nft("list tables"), "", "nothing is left behind");
        },
    );
}

#[test]
fn a_service_that_the_kernel_refuses_is_named_and_left_out_alone() {
    in_namespace(
        "a_service_that_the_kernel_refuses_is_named_and_left_out_alone",
        || {
            let mut scene = Scene::new();
            let mut wire = scene.wire();
            scene.put(1, &[1], None);
            scene.put(2, &[2, 3, 4, 5], None);
            scene.put(3, &[6], None);
            // A kernel whose map of slots has room for three.
            let sized = "input=$(printf '%s\\n' \"$input\" | sed '0,/^map slots { /s//&size 3; /')";
            let mut table = Table::open(behind(sized)).expect("nftables");
            table.sync(&scene.node, scene.now).expect("the others");
            let said: Vec<String> = table.rejections().map(|one| one.to_string()).collect();
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].contains("default/web-2") && said[0].contains("the kernel refuses"),
                "{said:?}"
            );
            let served = [1, 2, 3].map(|number| {
                let to = format!("10.96.0.{number}:80");
                connect(&mut wire, CLIENT, 1_000 + number, &to)
            });
            assert_eq!(served, [Some(1), None, Some(6)]);
            // With fewer endpoints it has a place, and is served again.
            table.poll(scene.later()).expect("nothing due");
            scene.put(2, &[2], None);
            table.sync(&scene.node, scene.now).expect("all of them");
            assert_eq!(table.rejections().next(), None);
            assert_eq!(connect(&mut wire, CLIENT, 2_000, "10.96.0.2:80"), Some(2));
        },
    );
}
