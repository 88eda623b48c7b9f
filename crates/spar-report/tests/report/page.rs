//! `report.html`, read by an HTML5 parser and, where `SPAR_CHROMIUM` names one,
//! laid out by a real browser.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use scraper::{ElementRef, Html, Selector};
use spar_report::Report;

use crate::runs::Runs;

fn page(runs: &Runs) -> String {
    let files = Report::build(&runs.request).unwrap().files().unwrap();
    let page = files.into_iter().find(|(name, _)| name == "report.html");
    page.unwrap().1
}

fn parsed(page: &str) -> Html {
    let html = Html::parse_document(page);
    assert_eq!(html.errors, [""; 0], "not HTML5");
    html
}

fn all<'a>(html: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    html.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(element: &ElementRef<'_>) -> String {
    let words: Vec<&str> = element.text().flat_map(str::split_whitespace).collect();
    words.join(" ")
}

fn texts(html: &Html, selector: &str) -> Vec<String> {
    all(html, selector).iter().map(text).collect()
}

/// What every page has to be: self-contained, its links and names sound, its
/// tables rectangular and named.
fn check(html: &Html, page: &str) {
    for address in ["http:", "https:", "url(", "@import", "<script", "srcset"] {
        assert!(!page.contains(address), "the page has {address}");
    }
    let mut ids = BTreeSet::new();
    for element in all(html, "[id]") {
        let id = element.attr("id").unwrap();
        assert!(ids.insert(id), "two elements are called {id}");
    }
    for element in all(html, "[src], [href]") {
        let value = element.value();
        let link = value.attr("src").or(value.attr("href")).unwrap();
        let inside = link.strip_prefix('#').is_some_and(|id| ids.contains(id));
        assert!(inside || link == "data:,", "a link leads to {link}");
    }
    for table in all(html, "table") {
        let of = |selector: &str| {
            let selector = Selector::parse(selector).unwrap();
            table.select(&selector).collect::<Vec<_>>()
        };
        assert_eq!(of("caption").len(), 1);
        let columns = of("thead th[scope=col]").len();
        assert!(columns > 1);
        for row in of("tbody tr:not(.band)") {
            assert_eq!(row.child_elements().count(), columns, "{}", text(&row));
        }
    }
    for svg in all(html, "figure > svg") {
        let name = svg.attr("aria-label").unwrap_or_default();
        assert!(!name.is_empty() && svg.attr("viewBox").is_some());
        assert!(text(&svg).len() > 10, "{name} is empty");
    }
}

fn figures(html: &Html) -> Vec<String> {
    let figures = all(html, "figure > svg");
    let name = |svg: &ElementRef<'_>| svg.attr("aria-label").unwrap_or_default().to_owned();
    figures.iter().map(name).collect()
}

#[test]
fn a_complete_page_has_every_table_plot_and_command() {
    let runs = Runs::complete();
    let page = page(&runs);
    let html = parsed(&page);
    check(&html, &page);
    assert_eq!(
        figures(&html),
        [
            "IQM of runs",
            "mean",
            "median of tasks",
            "optimality gap (less is better)",
            "performance profiles",
            "probability of improvement",
            "Learning curves, halfcheetah-medium",
            "Learning curves, hopper-medium",
            "Learning curves, walker2d-medium",
        ]
    );
    let warning = texts(&html, "header .loud");
    assert!(
        warning[0].contains("NOT the official") && warning.len() == 1,
        "{warning:?}"
    );
    let caution = texts(&html, "#published .loud");
    assert!(caution[0].starts_with("NOT comparable"), "{caution:?}");
    assert_eq!(
        texts(&html, "#scores tbody tr:first-child > *"),
        [
            "halfcheetah-medium",
            "10.7 ± 0.2",
            "14.0 ± 0.2",
            "+3.3 [+3.2, +3.4]"
        ]
    );
    assert_eq!(
        texts(&html, "#scores td.best"),
        ["14.0 ± 0.2", "48.4 ± 1.0", "36.1 ± 0.7", "32.8 ± 0.7"]
    );
    // From the number to its runs, and their commands.
    let link = all(&html, "#scores td.best a")[1].attr("href").unwrap();
    let commands = texts(&html, &format!("{link} + ul code"));
    assert_eq!(
        commands,
        [0, 1].map(|seed| runs.record("hopper-medium", "spar", seed).command)
    );
    assert_eq!(all(&html, "#runs pre code").len(), 12);
    assert!(texts(&html, ".verdict.supported")[0].starts_with("supported SPAR is above"));
}

#[test]
fn sixteen_methods_with_gaps_are_shown_whole() {
    let runs = Runs::wide();
    let page = page(&runs);
    let html = parsed(&page);
    check(&html, &page);
    assert_eq!(figures(&html).len(), 6 + 9);
    assert_eq!(all(&html, "#runs pre code").len(), 9 * 16 * 5 - 2 - 10);
    let remarks = texts(&html, "header .notice li");
    let [gone, spar, bc, devices] = &remarks[..] else {
        panic!("{remarks:?}");
    };
    let gap = "hopper-medium-replay EDAC seed 3, 4 (not started)";
    assert!(gone.starts_with("12 of 720 runs missing: ") && gone.contains(gap));
    assert!(spar.contains("far above the 1.0 to 20.0 expected of quick runs on local data"));
    assert!(bc.contains("walker2d-medium BC: ") && bc.contains("far below the 70.0 to 90.0"));
    assert!(devices.contains("hopper-medium-replay (FQL cpu, cuda; the others cpu)"));
    assert_eq!(texts(&html, "td.flag").len(), 2);
    // 14 methods are complete: 91 pairs, and 14 rows of the matrix.
    assert_eq!(all(&html, "#comparison tbody tr").len(), 91);
    let absent = texts(&html, "#aggregates td.none");
    assert_eq!(absent.len(), 8, "{absent:?}");
}

/// On a phone the difference lay beyond the edge.
#[test]
fn the_column_of_differences_is_kept_in_sight() {
    let page = page(&Runs::complete());
    let html = parsed(&page);
    let last = texts(&html, "table.versus thead th:last-child");
    assert_eq!(last, ["SPAR − BC [95%]"]);
    assert!(page.contains(".versus tr:not(.band) > :last-child { position: sticky; right: 0;"));
}

#[test]
fn a_page_of_nothing_says_so() {
    let page = page(&Runs::empty());
    let html = parsed(&page);
    check(&html, &page);
    assert_eq!(figures(&html).len(), 3, "curves that say they are missing");
    assert!(texts(&html, "#runs p.rest")[0].contains("seed 0 (not started)"));
    assert!(texts(&html, ".verdict.inconclusive")[0].contains("none of 6 pairs"));
}

#[test]
fn names_cannot_break_the_page() {
    let mut runs = Runs::empty();
    runs.request.methods = vec!["<b>\"x\" & </td>".to_owned()];
    let page = page(&runs);
    let html = parsed(&page);
    check(&html, &page);
    assert_eq!(texts(&html, "#scores thead th")[1], "<b>\"x\" & </td>");
}

/// What the browser is asked: whether the page fits the window, whether every
/// figure is drawn, and the smallest type that a figure shows, in pixels.
const QUESTION: &str = r#"<script>
addEventListener("load", () => {
  const page = document.documentElement;
  const wide = [...document.querySelectorAll("body *")]
    .filter((e) => e.getBoundingClientRect().right > page.clientWidth + 1)
    .filter((e) => !e.closest(".scroll, .wide, nav, caption"));
  const figures = [...document.querySelectorAll("figure > svg")];
  const scale = (svg) => svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  const type = figures.flatMap((svg) => [...svg.querySelectorAll("text")]
    .map((text) => scale(svg) * parseFloat(getComputedStyle(text).fontSize)));
  parent.postMessage(JSON.stringify({
    overflow: page.scrollWidth - page.clientWidth,
    wide: wide.map((e) => e.outerHTML.slice(0, 120)),
    figures: figures.filter((svg) => svg.getBoundingClientRect().height > 50).length,
    smallest: Math.min(...type),
    requests: performance.getEntriesByType("resource").length,
  }), "*");
});
</script>"#;

/// A window narrower than a browser makes one, which tells what the page answers.
fn window(page: &str, width: u32) -> String {
    format!(
        "<!DOCTYPE html><title>no answer</title><body style=\"margin: 0\">\
         <script>onmessage = (e) => {{ document.title = e.data; }};</script>\
         <iframe src=\"{page}\" style=\"border: 0; width: {width}px; height: 900px\"></iframe>"
    )
}

#[test]
fn a_browser_lays_the_page_out_on_a_phone_and_on_a_desk() {
    let Some(chromium) = std::env::var_os("SPAR_CHROMIUM") else {
        eprintln!("not tested: SPAR_CHROMIUM names no browser");
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    fs::create_dir_all(&folder).unwrap();
    for (name, runs, figures) in [
        ("complete", Runs::complete(), 9),
        ("wide", Runs::wide(), 15),
    ] {
        let page = page(&runs);
        fs::write(folder.join(format!("{name}.html")), &page).unwrap();
        let asked = format!("{name}-asked.html");
        let question = page.replace("</body>", &format!("{QUESTION}</body>"));
        fs::write(folder.join(&asked), question).unwrap();
        for width in [360, 768, 1280] {
            let outer = folder.join(format!("{name}-{width}.html"));
            fs::write(&outer, window(&asked, width)).unwrap();
            let profile = tempfile::tempdir().unwrap();
            let output = Command::new(&chromium)
                .args([
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-quic",
                ])
                .args(["--no-first-run", "--disable-background-networking"])
                .args(["--disable-component-update", "--disable-sync", "--dump-dom"])
                .arg(format!("--user-data-dir={}", profile.path().display()))
                .args(["--window-size=1400,1000", "--virtual-time-budget=5000"])
                .arg(format!("file://{}", outer.display()))
                .output()
                .unwrap();
            let dom = String::from_utf8(output.stdout).unwrap();
            let answer = texts(&Html::parse_document(&dom), "title").concat();
            let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["overflow"], 0, "{name} at {width}: {answer}");
            assert_eq!(answer["wide"], serde_json::json!([]), "{name} at {width}");
            assert_eq!(answer["figures"], figures, "{name} at {width}");
            assert_eq!(answer["requests"], 0, "{name} at {width}");
            assert!(answer["smallest"].as_f64() > Some(9.0), "{name}: {answer}");
        }
    }
}
