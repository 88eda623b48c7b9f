//! Points, directions and turns in space.

/// A point or a direction.
pub(super) type Vec3 = [f64; 3];

pub(super) fn difference(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

pub(super) fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(super) fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

pub(super) fn distance(a: Vec3, b: Vec3) -> f64 {
    norm(&difference(a, b))
}

/// Euler's angles of a rotation given row by row, as mujoco-worldgen's `mat2euler` has them.
pub(super) fn euler_of(m: &[f64; 9]) -> Vec3 {
    let cy = (m[8] * m[8] + m[5] * m[5]).sqrt();
    let middle = m[2].atan2(cy);
    if cy > 4.0 * f64::EPSILON {
        [-m[5].atan2(m[8]), middle, -m[1].atan2(m[0])]
    } else {
        [0.0, middle, -(-m[3]).atan2(m[4])]
    }
}

/// A turn, as a quaternion, that takes the third axis to `direction`, which need not have
/// length 1.
pub(super) fn rotation_to(direction: Vec3) -> [f64; 4] {
    let length = norm(&direction).max(f64::MIN_POSITIVE);
    let [x, y, z] = direction.map(|x| x / length);
    let w = 1.0 + z;
    // The opposite direction: half a turn about the first axis.
    if w < 1e-12 {
        return [0.0, 1.0, 0.0, 0.0];
    }
    let scale = 1.0 / (w * w + x * x + y * y).sqrt();
    [scale * w, -scale * y, scale * x, 0.0]
}
