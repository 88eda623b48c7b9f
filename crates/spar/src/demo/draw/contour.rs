//! Lines of equal value over a grid: what a critic believes, drawn as a map is.

/// The line of `level` through the values `grid`, `[side, side]`, row by row, as
/// pieces in the grid's own units, `0` to `side - 1`: marching squares. Where a cell
/// is a saddle its middle decides.
pub(super) fn line(grid: &[f64], side: usize, level: f64) -> Vec<[(f64, f64); 2]> {
    let mut pieces = Vec::new();
    let at = |x: usize, y: usize| grid[y * side + x] - level;
    for y in 0..side.saturating_sub(1) {
        for x in 0..side - 1 {
            let corners = [at(x, y), at(x + 1, y), at(x + 1, y + 1), at(x, y + 1)];
            let places = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(i, j)| (x + i, y + j));
            // Where the line crosses the edge from corner `i` to the next.
            let crossing = |i: usize| {
                let j = (i + 1) % 4;
                let (a, b) = (corners[i], corners[j]);
                if (a > 0.0) == (b > 0.0) {
                    return None;
                }
                let t = a / (a - b);
                let ((ax, ay), (bx, by)) = (places[i], places[j]);
                let mix = |p: usize, q: usize| p as f64 + t * (q as f64 - p as f64);
                Some((mix(ax, bx), mix(ay, by)))
            };
            match [0, 1, 2, 3].map(crossing) {
                [Some(a), Some(b), Some(c), Some(d)] => {
                    let middle = corners.iter().sum::<f64>() > 0.0;
                    if middle == (corners[0] > 0.0) {
                        pieces.extend([[a, b], [c, d]]);
                    } else {
                        pieces.extend([[d, a], [b, c]]);
                    }
                }
                crossings => {
                    let mut ends = crossings.into_iter().flatten();
                    if let (Some(a), Some(b)) = (ends.next(), ends.next()) {
                        pieces.push([a, b]);
                    }
                }
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_slope_is_straight_and_whole() {
        let side = 5;
        let grid: Vec<f64> = (0..25).map(|i| f64::from(i % 5)).collect();
        let pieces = line(&grid, side, 1.5);
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().flatten().all(|(x, _)| *x == 1.5));
        assert!(line(&grid, side, 9.0).is_empty());
    }

    #[test]
    fn a_saddles_middle_decides() {
        // High corners at both ends of one diagonal; the middle is high: the low
        // corners are cut off.
        let pieces = line(&[1.0, -0.5, -0.5, 1.0], 2, 0.0);
        assert_eq!(pieces.len(), 2);
        for [(ax, ay), (bx, by)] in pieces {
            let low = [(1.0, 0.0), (0.0, 1.0)];
            let near = |(x, y): (f64, f64)| {
                [(ax, ay), (bx, by)]
                    .iter()
                    .all(|(px, py)| (px - x).abs() + (py - y).abs() < 0.5)
            };
            assert!(low.into_iter().any(near));
        }
    }
}
