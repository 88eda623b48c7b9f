//! `spar demo` as a newcomer meets it: what its table says, and what its pictures hold.

use std::collections::BTreeMap;

use crate::support::Folder;

/// The table's rows: name to true value, distance to the manifold and share off the
/// ledge, the latter in percent.
fn numbers(table: &str) -> BTreeMap<&str, [f64; 3]> {
    let rows = table.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split("  ").map(str::trim).collect();
        let cells: Vec<&str> = cells.into_iter().filter(|cell| !cell.is_empty()).collect();
        let number = |i: usize| cells[i].trim_end_matches('%').parse().unwrap();
        (cells[0], [number(1), number(2), number(3)])
    });
    rows.collect()
}

/// Panics unless `svg` is well-formed as far as the demo's drawings go: one root, tags
/// closed in order, attributes quoted, nothing unescaped.
fn well_formed(svg: &str) {
    let mut open = Vec::new();
    let mut rest = svg;
    while let Some(start) = rest.find('<') {
        let words = &rest[..start];
        assert!(!words.contains('>'), "an unescaped text: {words}");
        assert!(!open.is_empty() || start == 0, "outside the root: {words}");
        let end = start + rest[start..].find('>').unwrap();
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        let alone = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let quoted: Vec<&str> = attributes.split('"').collect();
        assert_eq!(quoted.len() % 2, 1, "{tag}");
        let mut names: Vec<&str> = quoted.iter().step_by(2).map(|n| n.trim()).collect();
        assert_eq!(names.pop(), Some(""), "{tag}");
        assert!(names.iter().all(|n| n.ends_with('=')), "{tag}");
        names.sort_unstable();
        names
            .windows(2)
            .for_each(|w| assert_ne!(w[0], w[1], "{tag}"));
        if !alone {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?}");
    let escapes = svg.split('&').skip(1);
    for after in escapes {
        let known = ["amp;", "lt;", "gt;", "quot;"];
        assert!(known.iter().any(|e| after.starts_with(e)), "{after:.20}");
    }
}

/// What was measured with seeds 0, 1 and 2, of which two are tried here.
#[test]
fn spar_climbs_on_the_ledge_and_td3bc_leaves_it() {
    let folder = Folder::new();
    for seed in [0, 1] {
        let table = folder
            .spar(&format!("demo --out s{seed} --seed {seed}"))
            .ok();
        let found = numbers(&table);
        let [spar, anchor, td3bc, awr] =
            ["SPAR, w_fit 2", "anchor (BC)", "TD3+BC", "AWR"].map(|name| found[name]);
        assert!(
            spar[0] > anchor[0] + 0.05 && spar[0] > awr[0] - 0.03,
            "{table}"
        );
        assert!(spar[1] < td3bc[1] && spar[1] < anchor[1], "{table}");
        assert_eq!([spar[2], td3bc[2]], [0.0, 100.0], "{table}");
        // The mean of two places is in neither; a diffusion clone is in both, worth their mean,
        // and SPAR lifts either clone to the better one.
        let [bc, clone, around_bc, around_clone] = [
            "BC",
            "diffusion clone",
            "SPAR around BC",
            "SPAR around the clone",
        ]
        .map(|name| found[&*format!("two places: {name}")]);
        assert!(bc[0] < 0.1 && bc[2] > 90.0, "{table}");
        assert!(
            (0.4..0.75).contains(&clone[0]) && clone[2] < 15.0,
            "{table}"
        );
        for spar in [around_bc, around_clone] {
            assert!(spar[0] > 0.8 && spar[2] < 2.0, "{table}");
        }
        if seed == 0 {
            let drawn = String::from_utf8(folder.read("s0/demo-modes.svg")).unwrap();
            well_formed(&drawn);
            // Figures may differ in the last digit on another machine; words may not.
            let of_docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/demo-modes.svg");
            let of_docs = std::fs::read_to_string(of_docs).unwrap();
            assert_eq!(words(&drawn), words(&of_docs));
            assert_eq!(
                of_docs.matches("<circle").count(),
                drawn.matches("<circle").count()
            );
        }
    }
}

/// The texts of a picture, without figures.
fn words(svg: &str) -> Vec<String> {
    let texts = svg.split("<text").skip(1);
    let text = |rest: &str| {
        let (_, rest) = rest.split_once('>').unwrap();
        let text = rest.split("</text>").next().unwrap();
        text.replace(|c: char| c.is_ascii_digit(), "")
    };
    texts.map(text).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_whole_pictures() {
    let folder = Folder::new();
    let table = folder.spar("demo --out a --seed 3").ok();
    assert_eq!(folder.spar("demo --out b --seed 3").ok(), table);
    for (name, most) in [("demo.svg", 150_000), ("demo-animated.svg", 300_000)] {
        let svg = folder.read(&format!("a/{name}"));
        assert_eq!(folder.read(&format!("b/{name}")), svg, "{name}");
        assert!(svg.len() < most, "{name}: {} bytes", svg.len());
        let svg = String::from_utf8(svg).unwrap();
        well_formed(&svg);
        assert_eq!(svg.contains("<animate"), name != "demo.svg");
        assert!(!svg.contains("<script") && !svg.contains("NaN"), "{name}");
        for series in [
            "frozen anchor (BC)",
            "SPAR",
            "SPAR, less fit",
            "TD3+BC",
            "AWR",
        ] {
            assert!(svg.contains(&format!(">{series}</text>")), "{series}");
        }
        for words in ["logged actions", "candidates", "critic", "goal"] {
            assert!(svg.contains(words), "{name}: no {words}");
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line() {
    let folder = Folder::new();
    let done = folder.spar("demo --seed x");
    done.fails(2, &["seed"]);
    let done = folder.spar("demo --search --out here");
    done.fails(2, &["--out"]);
}
