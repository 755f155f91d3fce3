// Signed distances of plane figures (negative inside), as collected by Inigo Quilez,
// https://iquilezles.org/articles/distfunctions2d. Figures fit into about the unit circle.
#pragma once

#include <algorithm>
#include <cmath>

namespace syncbn::data {

struct Point {
  float x = 0;
  float y = 0;

  Point operator+(Point other) const { return {x + other.x, y + other.y}; }
  Point operator-(Point other) const { return {x - other.x, y - other.y}; }
  Point operator*(float factor) const { return {x * factor, y * factor}; }
};

inline float Dot(Point a, Point b) {
  return a.x * b.x + a.y * b.y;
}
inline float Length(Point p) {
  return std::sqrt(Dot(p, p));
}

inline float Disc(Point p, float radius) {
  return Length(p) - radius;
}

inline float Box(Point p, float half_width, float half_height) {
  const float dx = std::abs(p.x) - half_width, dy = std::abs(p.y) - half_height;
  return Length({std::max(dx, 0.0f), std::max(dy, 0.0f)}) + std::min(std::max(dx, dy), 0.0f);
}

// Points within `radius` of the segment from a to b.
inline float Stroke(Point p, Point a, Point b, float radius) {
  const Point pa = p - a, ba = b - a;
  const float along = std::clamp(Dot(pa, ba) / Dot(ba, ba), 0.0f, 1.0f);
  return Length(pa - ba * along) - radius;
}

// Equilateral, with half a side of `half_side`.
inline float Triangle(Point p, float half_side) {
  constexpr float kRoot3 = 1.7320508f;
  p.x = std::abs(p.x) - half_side;
  p.y = p.y + half_side / kRoot3;
  if (p.x + kRoot3 * p.y > 0) {
    p = Point{p.x - kRoot3 * p.y, -kRoot3 * p.x - p.y} * 0.5f;
  }
  p.x -= std::clamp(p.x, -2 * half_side, 0.0f);
  return p.y > 0 ? -Length(p) : Length(p);
}

// Five points at distance `radius`; `inner` is the ratio that makes the notches.
inline float Star(Point p, float radius, float inner) {
  constexpr Point kFirst{0.80901699f, -0.58778525f}, kSecond{-0.80901699f, -0.58778525f};
  p.x = std::abs(p.x);
  p = p - kFirst * (2 * std::max(Dot(kFirst, p), 0.0f));
  p = p - kSecond * (2 * std::max(Dot(kSecond, p), 0.0f));
  p.x = std::abs(p.x);
  p.y -= radius;
  const Point edge = Point{0.58778525f, 0.80901699f} * inner - Point{0, 1};
  const float along = std::clamp(Dot(p, edge) / Dot(edge, edge), 0.0f, radius);
  const float distance = Length(p - edge * along);
  return p.y * edge.x - p.x * edge.y > 0 ? distance : -distance;
}

// From (0, 0) at the tip to about y = 1.1.
inline float Heart(Point p) {
  p.x = std::abs(p.x);
  if (p.y + p.x > 1) return Length(p - Point{0.25f, 0.75f}) - 0.35355339f;
  const float half = 0.5f * std::max(p.x + p.y, 0.0f);
  const float distance = std::min(Length(p - Point{0, 1}), Length(p - Point{half, half}));
  return p.x > p.y ? distance : -distance;
}

}  // namespace syncbn::data
