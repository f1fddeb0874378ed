//! Charts as SVG: a few panels of lines, each with axes, units and a legend. Written by hand, because lines on a grid
//! need no library.

use std::fmt::Write;

/// A page of panels, one below the other.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The headline.
    pub title: String,
    /// A line below it, such as the load.
    pub subtitle: String,
    /// From top to bottom.
    pub panels: Vec<Panel>,
}

/// One pair of axes.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// Below it.
    pub x: Axis,
    /// Left of it.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// Moments to point at.
    pub marks: Vec<Mark>,
}

/// An axis: its label with the unit, and its scale.
#[derive(Clone, Debug)]
pub struct Axis {
    /// With the unit.
    pub label: &'static str,
    /// How values are spread.
    pub scale: Scale,
    /// Whether 0 is shown even without a value there; y axes that are linear always show it.
    pub starts_at_zero: bool,
}

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0, evenly.
    Linear,
    /// By powers of ten; values above 0 only.
    Log,
    /// Percentiles from 0 to below 100, by the power of ten of what is left above.
    Percentile,
}

/// A line.
#[derive(Clone, Debug)]
pub struct Series {
    /// For the legend.
    pub name: String,
    /// In order of x.
    pub points: Vec<(f64, f64)>,
}

/// A moment on the x axis.
#[derive(Clone, Debug)]
pub struct Mark {
    /// Where.
    pub x: f64,
    /// What.
    pub label: String,
    /// Something bad.
    pub is_bad: bool,
}

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 170.0;
const HEAD: f64 = 88.0;
const PANEL: f64 = 300.0;
/// Inside a panel's room: above and below the axes.
const ABOVE: f64 = 40.0;
const BELOW: f64 = 56.0;
/// Okabe and Ito's colours, which nearly everybody can tell apart.
const COLOURS: [&str; 8] = [
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00",
];

/// The picture.
pub fn svg(chart: &Chart) -> String {
    let height = HEAD + PANEL * chart.panels.len() as f64 + 8.0;
    let mut out = String::new();
    // A String takes everything.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"DejaVu Sans, Verdana, Arial, sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"34\" font-size=\"19\" font-weight=\"bold\" fill=\"#111\">{}</text>\n",
        escape(&chart.title),
    );
    for (index, line) in wrapped(&chart.subtitle, 130).iter().enumerate() {
        let y = 54 + 16 * index;
        let _ = writeln!(
            out,
            "<text x=\"{LEFT}\" y=\"{y}\" fill=\"#666\">{}</text>",
            escape(line)
        );
    }
    for (index, panel) in chart.panels.iter().enumerate() {
        let _ = draw(&mut out, panel, HEAD + PANEL * index as f64);
    }
    out.push_str("</svg>\n");
    out
}

/// Where values lie on a line of the picture.
struct Ruler {
    scale: Scale,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Ruler {
    fn new(scale: Scale, values: impl Iterator<Item = f64> + Clone, start: f64, end: f64, from_zero: bool) -> Ruler {
        let usable = values.filter(|value| scale != Scale::Log || *value > 0.0);
        let least = usable.clone().fold(f64::INFINITY, f64::min);
        let most = usable.fold(f64::NEG_INFINITY, f64::max);
        let (least, most) = if least.is_finite() { (least, most) } else { (0.0, 1.0) };
        let (from, to) = match scale {
            Scale::Linear => {
                let from = if from_zero { 0.0 } else { least };
                let step = step(most - from);
                let to = if from_zero { (most / step).ceil() * step } else { most };
                (from, if to > from { to } else { from + 1.0 })
            }
            Scale::Log => {
                let (from, to) = (round_125(least.max(1e-9), false), round_125(most.max(1e-9), true));
                (from, if to > from { to } else { from * 10.0 })
            }
            Scale::Percentile => (0.0, most.clamp(90.0, 99.9999)),
        };
        Ruler {
            scale,
            from,
            to,
            start,
            end,
        }
    }

    fn spread(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Log => value.max(self.from).log10(),
            Scale::Percentile => -(1.0 - value.clamp(0.0, 99.9999) / 100.0).log10(),
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (self.spread(value) - self.spread(self.from)) / (self.spread(self.to) - self.spread(self.from));
        self.start + share * (self.end - self.start)
    }

    /// Values with a label.
    fn ticks(&self) -> Vec<(f64, String)> {
        let inside = |value: &f64| *value >= self.from * (1.0 - 1e-9) && *value <= self.to * (1.0 + 1e-9);
        match self.scale {
            Scale::Linear => {
                let step = step(self.to - self.from);
                let first = (self.from / step).ceil() as i64;
                let last = (self.to / step + 1e-9).floor() as i64;
                (first..=last)
                    .map(|k| (k as f64 * step, number(k as f64 * step)))
                    .collect()
            }
            Scale::Log => {
                let decades = (self.to / self.from).log10();
                let of_decade: &[f64] = if decades > 4.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                (-9..10)
                    .flat_map(|power| of_decade.iter().map(move |m| m * 10f64.powi(power)))
                    .filter(inside)
                    .map(|value| (value, number(value)))
                    .collect()
            }
            Scale::Percentile => [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999]
                .into_iter()
                .filter(inside)
                .map(|value| (value, format!("{value} %")))
                .collect(),
        }
    }
}

/// A step that gives four to eight ticks.
fn step(span: f64) -> f64 {
    let rough = (span / 5.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let fits = [1.0, 2.0, 5.0, 10.0].into_iter().find(|m| m * power >= rough * 0.999);
    fits.unwrap_or(10.0) * power
}

/// The next 1, 2 or 5 times a power of ten, up or down.
fn round_125(value: f64, up: bool) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let m = value / power;
    let steps = [1.0, 2.0, 5.0, 10.0];
    let found = if up {
        steps.into_iter().find(|s| *s >= m * 0.999)
    } else {
        steps.into_iter().rev().find(|s| *s <= m * 1.001)
    };
    found.unwrap_or(1.0) * power
}

/// 0.05, 12, 4.5 k, 2 M.
fn number(value: f64) -> String {
    let (value, unit) = match value.abs() {
        v if v >= 1e6 => (value / 1e6, " M"),
        v if v >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

fn draw(out: &mut String, panel: &Panel, top: f64) -> std::fmt::Result {
    let (right, upper, lower) = (WIDTH - RIGHT, top + ABOVE, top + PANEL - BELOW);
    let points = || panel.series.iter().flat_map(|series| series.points.iter());
    let marks = panel.marks.iter().map(|mark| mark.x);
    let origin = panel.x.starts_at_zero.then_some(0.0);
    let xs = points().map(|point| point.0).chain(marks).chain(origin);
    let x = Ruler::new(panel.x.scale, xs, LEFT, right, false);
    let y = Ruler::new(panel.y.scale, points().map(|point| point.1), lower, upper, true);
    writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\" font-size=\"14\" font-weight=\"bold\" fill=\"#111\">{}</text>",
        upper - 16.0,
        escape(&panel.title)
    )?;
    for (value, label) in y.ticks() {
        let at = y.place(value);
        writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 8.0,
            at + 4.0
        )?;
    }
    for (value, label) in x.ticks() {
        let at = x.place(value);
        writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{upper}\" x2=\"{at:.1}\" y2=\"{}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            lower + 4.0,
            lower + 19.0
        )?;
    }
    writeln!(
        out,
        "<path d=\"M{LEFT} {upper}V{lower}H{right}\" fill=\"none\" stroke=\"#888\"/>\
         <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{}</text>\
         <text transform=\"translate(22 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
        (LEFT + right) / 2.0,
        lower + 40.0,
        escape(panel.x.label),
        (upper + lower) / 2.0,
        escape(panel.y.label)
    )?;
    for mark in &panel.marks {
        let at = x.place(mark.x);
        let colour = if mark.is_bad { "#C00000" } else { "#2E7D32" };
        writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{upper}\" x2=\"{at:.1}\" y2=\"{lower}\" stroke=\"{colour}\" stroke-dasharray=\"4 3\"/>\
             <text x=\"{at:.1}\" y=\"{}\" font-size=\"10\" text-anchor=\"middle\" fill=\"{colour}\">{}</text>",
            upper - 3.0,
            escape(&mark.label)
        )?;
    }
    for (index, series) in panel.series.iter().enumerate() {
        draw_series(
            out,
            series,
            index,
            &x,
            &y,
            (right + 16.0, upper + 8.0 + 19.0 * index as f64),
        )?;
    }
    Ok(())
}

/// The line, and its line of the legend.
fn draw_series(
    out: &mut String,
    series: &Series,
    index: usize,
    x: &Ruler,
    y: &Ruler,
    (legend_x, legend_y): (f64, f64),
) -> std::fmt::Result {
    let colour = COLOURS[index % COLOURS.len()];
    // Colours repeat after eight lines; dashes tell those apart.
    let dashes = ["", " stroke-dasharray=\"7 3\"", " stroke-dasharray=\"2 3\""][index / COLOURS.len() % 3];
    let is_there = |point: &(f64, f64)| y.scale != Scale::Log || point.1 > 0.0;
    let place = |point: &(f64, f64)| format!("{:.1} {:.1}", x.place(point.0), y.place(point.1));
    // Without a value there is a gap, not a line across it.
    for piece in series
        .points
        .split(|point| !is_there(point))
        .filter(|piece| !piece.is_empty())
    {
        let path = piece.iter().map(place).collect::<Vec<_>>().join("L");
        writeln!(
            out,
            "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-linejoin=\"round\"{dashes}/>"
        )?;
    }
    let places: Vec<String> = series
        .points
        .iter()
        .filter(|point| is_there(point))
        .map(place)
        .collect();
    // Few points are places that were measured, and the line only joins them.
    if places.len() <= 24 {
        for place in &places {
            let (cx, cy) = place.split_once(' ').expect("two numbers");
            writeln!(out, "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"2.8\" fill=\"{colour}\"/>")?;
        }
    }
    writeln!(
        out,
        "<line x1=\"{legend_x}\" y1=\"{legend_y}\" x2=\"{}\" y2=\"{legend_y}\" stroke=\"{colour}\" stroke-width=\"2.5\"{dashes}/>\
         <text x=\"{}\" y=\"{}\">{}</text>",
        legend_x + 20.0,
        legend_x + 26.0,
        legend_y + 4.0,
        escape(&series.name)
    )
}

/// Two lines at most, broken where a word ends.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_inclusive([' ', ',']) {
        if !line.is_empty() && line.chars().count() + word.chars().count() > columns {
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(word);
    }
    lines.push(line);
    if lines.len() > 2 {
        lines.truncate(2);
        lines[1].push('…');
    }
    lines
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let labels = |scale, values: &[f64]| -> Vec<String> {
            let ruler = Ruler::new(scale, values.iter().copied(), 0.0, 100.0, true);
            ruler.ticks().into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(
            labels(Scale::Linear, &[0.0, 47_000.0]),
            ["0", "10 k", "20 k", "30 k", "40 k", "50 k"]
        );
        assert_eq!(labels(Scale::Log, &[0.11, 4.0]), ["0.1", "0.2", "0.5", "1", "2", "5"]);
        assert_eq!(
            labels(Scale::Percentile, &[0.0, 99.9]),
            ["0 %", "50 %", "90 %", "99 %", "99.9 %"]
        );
        assert_eq!(labels(Scale::Linear, &[]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
    }

    #[test]
    fn places_stay_inside() {
        let ruler = Ruler::new(Scale::Percentile, [0.0, 99.99].into_iter(), 10.0, 110.0, false);
        assert_eq!((ruler.place(0.0), ruler.place(99.99)), (10.0, 110.0));
        assert!((ruler.place(90.0) - 35.0).abs() < 1e-6, "a quarter of four tens");
    }

    #[test]
    fn a_gap_stays_a_gap() {
        let axis = |scale| Axis {
            label: "",
            scale,
            starts_at_zero: false,
        };
        let panel = Panel {
            title: String::new(),
            x: axis(Scale::Linear),
            y: axis(Scale::Log),
            series: vec![Series {
                name: "p99".into(),
                points: vec![(0.0, 1.0), (1.0, 2.0), (2.0, 0.0), (3.0, 2.0), (4.0, 1.0)],
            }],
            marks: vec![],
        };
        let chart = Chart {
            title: String::new(),
            subtitle: String::new(),
            panels: vec![panel],
        };
        assert_eq!(svg(&chart).matches("stroke-linejoin").count(), 2);
    }

    #[test]
    fn text_is_escaped() {
        let chart = Chart {
            title: "a < b & c".into(),
            subtitle: String::new(),
            panels: vec![],
        };
        assert!(svg(&chart).contains("a &lt; b &amp; c"));
        assert_eq!(wrapped("get=1,set=1, more of it", 12), ["get=1,set=1,", " more of it"]);
        assert_eq!(wrapped(&"word ".repeat(20), 10).len(), 2);
    }
}
