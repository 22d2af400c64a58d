//! The plot beside `BENCHMARKS.md`: throughput and latency against connections, one transfer a request, read models on. Upright
//! lines reach from the lowest round to the highest.

use std::fmt::Display;

use plotters::element::DashedPathElement;
use plotters::prelude::*;

use crate::ReadModels;
use crate::http::{CellResult, HttpResult, Load};
use crate::spread::whole;

const SIZE: (u32, u32) = (960, 400);
const UNIFORM: RGBColor = RGBColor(0x1f, 0x62, 0xa8);
const HOT: RGBColor = RGBColor(0xc8, 0x52, 0x0a);
const INK: RGBColor = RGBColor(0x33, 0x33, 0x33);
const FAINT: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);

/// What a line shows of a measurement.
type Figure = fn(&CellResult) -> f64;

/// A line: its name, its color, its dash, and a place and a figure for each number of connections.
struct Line {
    name: &'static str,
    color: RGBColor,
    dashed: bool,
    points: Vec<(f64, f64)>,
    /// A place, and the lowest and the highest of the rounds there, if they are to be shown.
    ranges: Vec<(f64, f64, f64)>,
}

/// The plot as SVG, or `None` if fewer than two numbers of connections were measured.
pub(crate) fn svg(result: &HttpResult) -> anyhow::Result<Option<String>> {
    let shown = |cell: &&CellResult| cell.cell.items == 1 && cell.cell.read_models == ReadModels::On;
    let mut connections: Vec<usize> = result.cells.iter().filter(shown).map(|cell| cell.cell.connections).collect();
    connections.sort_unstable();
    connections.dedup();
    if connections.len() < 2 {
        return Ok(None);
    }
    let line = |name, load, color, dashed, figure: Figure| {
        let place = |cell: &CellResult| connections.iter().position(|of| *of == cell.cell.connections);
        let cells = result.cells.iter().filter(shown).filter(|cell| cell.cell.load == load);
        let mut points: Vec<_> = cells.filter_map(|cell| Some((place(cell)? as f64, figure(cell)))).collect();
        points.sort_by(|one, other| one.0.total_cmp(&other.0));
        Line { name, color, dashed, points, ranges: Vec::new() }
    };
    let with_ranges = |name, load, color| {
        let lowest = line(name, load, color, false, |cell| cell.transfers_per_second.lowest).points;
        let highest = line(name, load, color, false, |cell| cell.transfers_per_second.highest).points;
        let ranges = lowest.into_iter().zip(highest).map(|((at, from), (_, to))| (at, from, to)).collect();
        Line { ranges, ..line(name, load, color, false, |cell| cell.transfers_per_second.median) }
    };
    let throughput = [with_ranges("uniform", Load::Uniform, UNIFORM), with_ranges("two hot accounts", Load::Hot, HOT)];
    let latency = [
        line("p99, uniform", Load::Uniform, UNIFORM, false, |cell| cell.p99_ms),
        line("p99, two hot", Load::Hot, HOT, false, |cell| cell.p99_ms),
        line("p50, uniform", Load::Uniform, UNIFORM, true, |cell| cell.p50_ms),
        line("p50, two hot", Load::Hot, HOT, true, |cell| cell.p50_ms),
    ];
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        let (left, right) = root.split_horizontally(SIZE.0 / 2);
        panel(&left, "transfers per second", &connections, &throughput, 0.0, &|figure| whole(*figure))?;
        panel(&right, "latency in milliseconds", &connections, &latency, 0.1, &|figure| format!("{figure:.1}"))?;
        root.present().map_err(drawing)?;
    }
    Ok(Some(text))
}

/// The fault of a backend that borrows, as one that can be kept.
fn drawing(error: impl Display) -> anyhow::Error {
    anyhow::anyhow!("drawing the plot: {error}")
}

/// One half: lines over numbers of connections, from zero.
fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    connections: &[usize],
    lines: &[Line],
    least: f64,
    label: &dyn Fn(&f64) -> String,
) -> anyhow::Result<()> {
    let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let reached = lines.iter().flat_map(|line| &line.ranges).map(|(_, _, highest)| *highest);
    let figures = lines.iter().flat_map(|line| &line.points).map(|(_, figure)| *figure).chain(reached);
    let top = figures.fold(least, f64::max) * 1.12;
    let last = connections.len().saturating_sub(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, font(17))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(62)
        .build_cartesian_2d(-0.25..last + 0.25, 0.0..top)
        .map_err(drawing)?;
    // Numbers of connections stand at equal distances: each tick is at a whole number.
    let tick = |place: &f64| {
        let near = place.round();
        let known = connections.get(near as usize).filter(|_| (place - near).abs() < 1e-6 && near >= 0.0);
        known.map_or_else(String::new, ToString::to_string)
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(INK)
        .x_labels(connections.len())
        .x_label_formatter(&tick)
        .y_labels(6)
        .y_label_formatter(&label)
        .label_style(font(13))
        .x_desc("connections, one request under way on each")
        .axis_desc_style(font(13))
        .draw()
        .map_err(drawing)?;
    for line in lines {
        let style = line.color.stroke_width(2);
        let points = line.points.iter().copied();
        let drawn = if line.dashed {
            chart.draw_series(DashedLineSeries::new(points.clone(), 6, 4, style)).map_err(drawing)?
        } else {
            chart.draw_series(LineSeries::new(points.clone(), style)).map_err(drawing)?
        };
        let (color, dashed) = (line.color, line.dashed);
        drawn.label(line.name).legend(move |(x, y)| {
            let (dash, gap) = if dashed { (6, 4) } else { (20, 0) };
            DashedPathElement::new([(x, y), (x + 20, y)], dash, gap, color.stroke_width(2))
        });
        let reach =
            line.ranges.iter().map(|(at, from, to)| PathElement::new([(*at, *from), (*at, *to)], color.mix(0.5)));
        chart.draw_series(reach).map_err(drawing)?;
        chart.draw_series(points.map(|point| Circle::new(point, 3, color.filled()))).map_err(drawing)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(font(13))
        .draw()
        .map_err(drawing)?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::http::Cell;
    use crate::spread::Spread;

    /// A result that looks like one.
    pub(crate) fn result() -> HttpResult {
        let mut cells = Vec::new();
        for (connections, uniform, p50_ms, p99_ms) in
            [(1, 2_100.0, 0.45, 0.9), (16, 16_400.0, 0.9, 2.6), (64, 41_000.0, 1.4, 4.4), (256, 52_500.0, 4.6, 11.8)]
        {
            for (load, factor) in [(Load::Uniform, 1.0), (Load::Hot, 0.93)] {
                cells.push(CellResult {
                    cell: Cell { connections, load, read_models: ReadModels::On, items: 1 },
                    transfers_per_second: Spread::of(vec![uniform * factor, uniform * factor * 0.98]),
                    requests: 1,
                    p50_ms: p50_ms / factor,
                    p99_ms: p99_ms / factor,
                    p999_ms: p99_ms * 2.0,
                    p100_ms: p99_ms * 3.0,
                    lag_events: Some(0),
                    lag_drained_seconds: Some(0.1),
                    journal_bytes_per_transfer: 150.0,
                });
            }
        }
        HttpResult { seconds: 2, rounds: 2, accounts: 1_000, cells }
    }

    #[test]
    fn the_plot_names_its_lines_its_axes_and_its_figures() {
        let text = svg(&result()).unwrap().unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        for shown in ["two hot accounts", "p99, uniform", "256", "milliseconds", "20,000"] {
            assert!(text.contains(shown), "{shown} is missing");
        }
    }

    #[test]
    fn one_number_of_connections_is_no_plot() {
        let mut one = result();
        one.cells.truncate(2);
        assert!(svg(&one).unwrap().is_none());
    }
}
