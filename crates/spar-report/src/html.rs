//! `report.html`: the whole report on one page that needs nothing else, no
//! network and no script. Its shape is in `templates/`; here are its numbers.

use askama::Template;
use plotters::prelude::RGBColor;

use crate::{
    ReportError, Results,
    chart::Look,
    curves::{self, TaskCurves},
    differences, figures,
    films::{FilmView, RunFilms},
    names, ope,
    published::{self, Source},
    render as render_error,
    results::{Cell, Unit},
    sweeps,
    table::{self, Grid, Mark},
    totals,
};

#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    suite: String,
    preset: String,
    lead: String,
    warning: Option<String>,
    verdict: Option<VerdictView>,
    remarks: Vec<String>,
    /// Anchors and names of the sections there are.
    sections: Vec<(&'static str, &'static str)>,
    protocol: String,
    marks_note: Option<String>,
    note: &'static str,
    heading: &'static str,
    scores: TableView,
    differences: Option<TableView>,
    differences_note: String,
    differences_lines: Vec<String>,
    sweeps: Vec<String>,
    sweeps_note: &'static str,
    sweeps_legend: Vec<LegendView>,
    aggregates: Option<TableView>,
    intervals: Vec<String>,
    profiles: Option<String>,
    matrix: Option<String>,
    improvements: Option<TableView>,
    legend: Vec<LegendView>,
    curves: Vec<String>,
    curves_note: String,
    curves_legend: Vec<LegendView>,
    ope: Option<TableView>,
    ope_note: String,
    ope_lines: Vec<String>,
    returns: Option<TableView>,
    data: TableView,
    runs: Vec<TaskView>,
    facts: Vec<(&'static str, String)>,
    published: Option<TableView>,
    caution: String,
    generated_by: String,
}

struct VerdictView {
    class: String,
    name: &'static str,
    sentence: String,
}

struct TableView {
    caption: &'static str,
    header: Vec<String>,
    groups: Vec<GroupView>,
    /// Whether the columns hold words, printed flush left.
    words: bool,
}

impl TableView {
    /// What the style sheet calls it: of words, of many columns, or with a difference that a
    /// narrow window has to keep in sight.
    fn class(&self) -> String {
        if self.words {
            return "words".to_owned();
        }
        let dense = (self.header.len() > 8).then_some("dense");
        let last = self.header.last();
        let versus = last.is_some_and(|name| name.contains(" − "));
        let versus = versus.then_some("versus");
        dense
            .into_iter()
            .chain(versus)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

struct GroupView {
    band: Option<BandView>,
    rows: Vec<RowView>,
}

/// A line above a group of rows.
struct BandView {
    name: String,
    rest: String,
}

struct RowView {
    name: String,
    sum: bool,
    cells: Vec<CellView>,
}

/// A number, and smaller what belongs to it.
struct CellView {
    main: String,
    rest: String,
    class: String,
    link: Option<String>,
}

struct LegendView {
    sample: String,
    name: String,
}

struct TaskView {
    name: String,
    count: String,
    methods: Vec<MethodView>,
}

struct MethodView {
    id: String,
    name: String,
    missing: String,
    runs: Vec<RunView>,
}

struct RunView {
    seed: u64,
    score: String,
    mean_return: String,
    rest: String,
    films: Vec<FilmView>,
    command: String,
}

pub(crate) fn render(
    results: &Results,
    curves: &[TaskCurves],
    films: &[RunFilms],
) -> Result<String, ReportError> {
    let figures = figures::panels(results)?;
    let of = |kind| {
        let figures = figures.iter().filter(move |figure| figure.kind == kind);
        figures.map(|figure| inline(&figure.svg, &figure.name))
    };
    let drawn = curves::panels(curves)?;
    let legend = curves::legend(curves);
    let mut remarks: Vec<String> = table::missing(results).into_iter().collect();
    remarks.extend(table::remarks(results));
    let published = (!results.published.is_empty()).then(|| published_table(results));
    let profiles = of(figures::Kind::Profiles).next();
    let scored = results.unit.is_score();
    let heading = if scored { "Scores" } else { "Returns" };
    let mut sections = vec![("scores", heading)];
    if !results.differences.is_empty() {
        sections.push(("differences", "Variants"));
    }
    if scored {
        sections.push(("aggregates", "Aggregates"));
    }
    if profiles.is_some() {
        sections.push(("comparison", "Distributions"));
    }
    sections.push(("curves", "Learning curves"));
    if !results.ope.is_empty() {
        sections.push(("ope", "Without the simulator"));
    }
    if scored {
        sections.push(("returns", "Returns"));
    }
    sections.extend([
        ("data", "Data"),
        ("runs", "Runs"),
        ("facts", "How it was made"),
    ]);
    if published.is_some() {
        sections.push(("published", "Published numbers"));
    }
    let page = Page {
        suite: results.suite.clone(),
        preset: results.preset.clone(),
        lead: results.description.clone(),
        warning: table::warning(results),
        verdict: results.comparison.as_ref().map(|found| VerdictView {
            class: found.verdict.name().replace(' ', "-"),
            name: found.verdict.name(),
            sentence: found.sentence.clone(),
        }),
        remarks,
        sections,
        protocol: table::protocol(results),
        marks_note: table::marks_note(results, "Bold"),
        note: figures::note(results),
        heading,
        scores: scores_table(results),
        differences: differences::grid(results).map(|grid| plain("Variants against SPAR", grid)),
        differences_note: differences::note(results),
        differences_lines: differences::lines(results).collect(),
        sweeps: of(figures::Kind::Sweep).collect(),
        sweeps_note: sweeps::NOTE,
        sweeps_legend: sweeps::legend(results).into_iter().map(entry).collect(),
        aggregates: totals::grid(results).map(|grid| plain("Aggregates over all tasks", grid)),
        intervals: of(figures::Kind::Interval).collect(),
        profiles,
        matrix: of(figures::Kind::Matrix).next(),
        improvements: improvements_table(results),
        legend: figures::legend(results).into_iter().map(entry).collect(),
        curves: drawn
            .iter()
            .map(|(task, svg)| inline(svg, &format!("Learning curves, {task}")))
            .collect(),
        curves_note: legend.note,
        curves_legend: legend.entries.into_iter().map(entry).collect(),
        ope: ope::grid(results).map(|grid| plain("Policies without the simulator", grid)),
        ope_note: ope::note(results),
        ope_lines: ope::lines(results),
        returns: scored.then(|| plain("Mean undiscounted returns", table::returns_grid(results))),
        data: plain("Training data of each task", table::data_grid(results)),
        runs: runs(results, films),
        facts: table::facts(results),
        published,
        caution: published::caution(results),
        generated_by: results.generated_by.clone(),
    };
    page.render().map_err(|e| render_error("report.html", e))
}

/// A figure as part of the page: named for who cannot see it.
fn inline(svg: &str, name: &str) -> String {
    let plain = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1);
    let name = name.replace('&', "&amp;").replace('"', "&quot;");
    plain.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{name}\" "),
        1,
    )
}

fn entry((name, look): (String, Look)) -> LegendView {
    let RGBColor(r, g, b) = look.color;
    let dash = look.dash.map_or_else(String::new, |(stroke, gap)| {
        format!(" stroke-dasharray=\"{stroke} {gap}\"")
    });
    LegendView {
        sample: format!(
            "<svg width=\"30\" height=\"6\" aria-hidden=\"true\"><line x1=\"0\" y1=\"3\" x2=\"30\" y2=\"3\" stroke-width=\"3\" stroke=\"#{r:02X}{g:02X}{b:02X}\"{dash}></line></svg>"
        ),
        name,
    }
}

/// A cell's number apart from its spread, its interval or its remark.
fn split(text: &str) -> (String, String) {
    let marks = [" ± ", " [", " ("];
    match marks.iter().filter_map(|mark| text.find(mark)).min() {
        Some(at) => (text[..at].to_owned(), text[at..].to_owned()),
        None => (text.to_owned(), String::new()),
    }
}

fn cell(text: &str) -> CellView {
    let (main, rest) = split(text);
    let none = main == "missing" || main == "–";
    CellView {
        main,
        rest,
        class: if none { "none" } else { "" }.to_owned(),
        link: None,
    }
}

fn plain(caption: &'static str, grid: Grid) -> TableView {
    let (words, aggregates) = (!grid.numbers, grid.aggregates);
    let first_sum = grid.rows.len() - aggregates;
    let rows = grid.rows.iter().enumerate().map(|(i, row)| RowView {
        name: row.first().cloned().unwrap_or_default(),
        sum: i >= first_sum,
        cells: row.iter().skip(1).map(|text| cell(text)).collect(),
    });
    TableView {
        caption,
        groups: vec![GroupView {
            band: None,
            rows: rows.collect(),
        }],
        header: grid.header,
        words,
    }
}

/// The anchor of a cell's runs. Places are safe in a URL, names may not be.
fn anchor(task: usize, method: usize) -> String {
    format!("runs-{}-{}", task + 1, method + 1)
}

fn scores_table(results: &Results) -> TableView {
    let grid = table::scores_grid(results);
    let marks = grid.marks.clone();
    let mut view = plain(
        match results.unit {
            Unit::NormalizedScore => "Normalized scores",
            Unit::Return => "Undiscounted returns",
        },
        grid,
    );
    let rows = view.groups.iter_mut().flat_map(|group| &mut group.rows);
    for (i, row) in rows.enumerate() {
        for (j, cell) in row.cells.iter_mut().enumerate() {
            let (Some(task), Some(method)) = (results.tasks.get(i), results.methods.get(j)) else {
                cell.class += marks.get(&(i, j + 1)).map_or("", |mark| mark.name());
                continue;
            };
            let mark = marks.get(&(i, j + 1)).map_or("", |mark: &Mark| mark.name());
            let mut flags = results.flags.iter();
            let flagged = flags.any(|flag| flag.task == *task && flag.method == *method);
            let classes = [&*cell.class, mark, if flagged { "flag" } else { "" }];
            let classes: Vec<&str> = classes.into_iter().filter(|c| !c.is_empty()).collect();
            cell.class = classes.join(" ");
            cell.link = Some(anchor(i, j));
        }
    }
    view
}

fn improvements_table(results: &Results) -> Option<TableView> {
    let row = |i: &crate::results::Improvement| {
        vec![
            names::label(&i.method),
            names::label(&i.over),
            table::probability(&i.probability),
        ]
    };
    let header = ["method", "over", "probability"]
        .map(str::to_owned)
        .to_vec();
    let grid = Grid {
        header,
        rows: results.improvements.iter().map(row).collect(),
        numbers: false,
        aggregates: 0,
        marks: Default::default(),
    };
    let any = !grid.rows.is_empty();
    any.then(|| plain("Probability of improvement of every pair", grid))
}

fn published_table(results: &Results) -> TableView {
    let Grid { header, rows, .. } = published::grid(results);
    let header = header
        .into_iter()
        .enumerate()
        .filter(|(column, _)| *column != 1);
    let group = |(i, source): (usize, Source<'_>)| {
        let number = format!("[{}]", i + 1);
        let rows = rows.iter().filter(|row| row.get(1) == Some(&number));
        let Source {
            name,
            data,
            protocol,
        } = source;
        GroupView {
            band: Some(BandView {
                name: name.to_owned(),
                rest: format!("{data}; {protocol}"),
            }),
            rows: rows
                .map(|row| RowView {
                    name: row.first().cloned().unwrap_or_default(),
                    sum: false,
                    cells: row.iter().skip(2).map(|text| cell(text)).collect(),
                })
                .collect(),
        }
    };
    let sources = published::sources(results).into_iter().enumerate();
    TableView {
        caption: "Published numbers",
        header: header.map(|(_, name)| name).collect(),
        groups: sources.map(group).collect(),
        words: false,
    }
}

fn runs(results: &Results, films: &[RunFilms]) -> Vec<TaskView> {
    let run = |cell: &Cell| run(cell, films);
    let task = |(i, &task): (usize, &spar_core::TaskId)| {
        let method = |(j, method): (usize, &String)| {
            let of_cell = |m: &&crate::results::Missing| m.task == task && m.method == *method;
            let missing = results.missing.iter().filter(of_cell);
            let missing = missing.map(|m| format!("seed {} ({})", m.seed, m.words()));
            MethodView {
                id: anchor(i, j),
                name: names::label(method),
                missing: table::list(missing),
                runs: results.cells_of(task, method).map(run).collect(),
            }
        };
        let done = results
            .cells
            .iter()
            .filter(|cell| cell.task == task)
            .count();
        let all = results.methods.len() * results.seeds.len();
        TaskView {
            name: task.to_string(),
            count: format!("{done} of {all} runs"),
            methods: results.methods.iter().enumerate().map(method).collect(),
        }
    };
    results.tasks.iter().enumerate().map(task).collect()
}

fn run(cell: &Cell, films: &[RunFilms]) -> RunView {
    let own = films
        .iter()
        .find(|f| f.is_of(cell.task, &cell.method, cell.seed));
    let threads = match cell.threads {
        1 => "1 thread".to_owned(),
        n => format!("{n} threads"),
    };
    let minutes = cell.wall_s / 60.0;
    RunView {
        seed: cell.seed,
        score: match cell.normalized_score {
            Some(score) => format!("{score:.1}"),
            None => "unknown".to_owned(),
        },
        mean_return: format!("{:.1}", cell.mean_return),
        rest: format!(
            "over {} episodes; {minutes:.1} min on {}, {threads}; commit {}",
            cell.returns.len(),
            cell.device,
            cell.commit
        ),
        films: own.map_or_else(Vec::new, |own| own.films.clone()),
        command: cell.command.clone(),
    }
}
