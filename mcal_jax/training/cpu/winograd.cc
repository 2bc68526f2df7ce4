// Winograd's F(4, 3) along a row: four pixels of the result, a tile, in six products, not twelve (Lavin and Gray 2016).
//
// A row of weights w and the tile are polynomials of degree 2 and 3. The tile times w is known from its values at six
// points, 0, infinity, A, -A, B and -B, that is by six products ("terms"); a convolution is the transpose of that:
//     tile = tile_of(sum over rows and input channels of terms_of_weights(w) * terms_of_pixels(six columns))
//     w's gradient = weights_of(sum over tiles of terms_of_pixels(six columns) * terms_of_gradient(tile's gradient))
// With A B = 1 float32 loses half as much as with the usual 1 and 2.

#include "winograd.h"

#include <type_traits>
#include <utility>

namespace mcal {
namespace {

#if defined(__AVX512F__)
constexpr int kTiles = 2;  // at once; with kHalf terms of kOut channels, most of the registers
#else
constexpr int kTiles = 1;
#endif
constexpr int kTile = 4;  // pixels of a tile
constexpr int kTerms = 6, kHalf = 3;
constexpr int kIn = kLanes / kOut;  // input channels at once of a gradient of the kernel
constexpr int64_t kRows = 7;        // rows of a task
constexpr int64_t kPositions = 64;  // tiles that a sum of a gradient takes in before its lanes are added up
constexpr float A = 0.70710678f, B = 1.41421356f, AA = 0.5f, BB = 2;
constexpr float of_A = 1 / (2 * AA * (AA - BB)), of_B = 1 / (2 * BB * (BB - AA));  // Lagrange's factors; of 0: 1

// One value for each of 0, infinity, A, -A, B, -B.
struct Terms {
  Vec at[kTerms];
};

// Of columns `first` to first + 5 of a row of pixels, zeros outside of it.
inline Terms terms_of_pixels(const float* row, int64_t first, int64_t width, int64_t batch) {
  Vec d[kTerms];
  if (first >= 0 && first + kTerms <= width)
    for (int q = 0; q < kTerms; ++q) d[q] = load(row + (first + q) * batch);
  else
    for (int q = 0; q < kTerms; ++q)
      d[q] = first + q >= 0 && first + q < width ? load(row + (first + q) * batch) : Vec{};
  const Vec a = d[4] - BB * d[2], b = A * (d[3] - BB * d[1]), c = d[4] - AA * d[2], e = B * (d[3] - AA * d[1]);
  return {{d[0] - (AA + BB) * d[2] + d[4], d[1] - (AA + BB) * d[3] + d[5], a + b, a - b, c + e, c - e}};
}

// Of the gradient of a tile of which `columns` are there.
inline Terms terms_of_gradient(const float* tile, int64_t columns, int64_t batch) {
  Vec g[kTile];
  for (int q = 0; q < kTile; ++q) g[q] = q < columns ? load(tile + q * batch) : Vec{};
  const Vec a = g[0] + AA * g[2], b = A * (g[1] + AA * g[3]), c = g[0] + BB * g[2], e = B * (g[1] + BB * g[3]);
  return {{g[0], g[3], a + b, a - b, c + e, c - e}};
}

// Terms 0, A, -A and infinity, B, -B are summed one half after the other, as all do not fit into the registers.
constexpr int kOrder[kTerms] = {0, 2, 3, 1, 4, 5};

// [out / 4][2 halves][3 rows][in][3 terms][4].
const float* terms_of_weights(const Parallel& parallel, const Kernel& kernel) {
  thread_local Scratch scratch;
  const int64_t in = kernel.in, half = 3 * in * kHalf * kOut;
  float* const terms = scratch.get(2 * half * kernel.out / kOut);
  each_block(parallel, in, kernel.out, [&](int64_t block) {
    float* to = terms + block * 2 * half;
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t c = 0; c < in; ++c, to += kHalf * kOut) {
        Four w[3];
#pragma GCC unroll 3
        for (int l = 0; l < 3; ++l)
#pragma GCC unroll 4
          for (int e = 0; e < kOut; ++e) w[l][e] = kernel(i, l, c, block * kOut + e);
        const Four a = w[0] + AA * w[2], b = w[0] + BB * w[2];
        const Four terms_of_w[kTerms] = {w[0], (a + A * w[1]) * of_A, (a - A * w[1]) * of_A,
                                         w[2], (b + B * w[1]) * of_B, (b - B * w[1]) * of_B};
#pragma GCC unroll 6
        for (int m = 0; m < kTerms; ++m)
          std::memcpy(to + m / kHalf * half + m % kHalf * kOut, &terms_of_w[m], sizeof(Four));
      }
  });
  return terms;
}

// Half of the terms of P tiles of four output channels, summed over `steps` rows of input channels.
template <int P>
inline void add_terms(const float* x, int64_t steps, const float* weights, Vec (&sum)[kHalf][kOut][P]) {
  for (; steps; --steps) {
#pragma GCC unroll 3
    for (int m = 0; m < kHalf; ++m, x += P * kLanes, weights += kOut) {
      Vec v[P];
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) {
        v[p] = load(x + p * kLanes);
        KEEP(v[p]);
      }
#pragma GCC unroll 4
      for (int o = 0; o < kOut; ++o) {
        Vec w = weights[o] - Vec{};
        if (P > 1) KEEP(w);
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) sum[m][o][p] += w * v[p];
      }
    }
  }
}

// Where the first channel of a tile goes, and how many of its pixels are there.
struct Tile {
  float* to;
  int64_t columns;
};

// P tiles of four output channels; the halves of `x` and `weights` lie so many floats apart.
template <int P>
void tiles_of(const float* x, int64_t x_half, int64_t steps, const float* weights, int64_t weights_half,
              const float* bias, bool relu, const Tile* tiles, const Planes& y) {
  Vec low[kHalf][kOut][P] = {}, high[kHalf][kOut][P] = {}, even[kOut][P], odd[kOut][P], first[kOut][P];
  add_terms<P>(x, steps, weights, low);
  for (int o = 0; o < kOut; ++o)
    for (int p = 0; p < P; ++p) {
      even[o][p] = low[1][o][p] + low[2][o][p];
      odd[o][p] = low[1][o][p] - low[2][o][p];
      first[o][p] = low[0][o][p] + even[o][p];
    }
  add_terms<P>(x + x_half, steps, weights + weights_half, high);
  for (int o = 0; o < kOut; ++o)
    for (int p = 0; p < P; ++p) {
      const Vec e = high[1][o][p] + high[2][o][p], d = high[1][o][p] - high[2][o][p];
      const Vec pixels[kTile] = {first[o][p] + e, A * odd[o][p] + B * d, AA * even[o][p] + BB * e,
                                 AA * A * odd[o][p] + BB * B * d + high[0][o][p]};
      for (int64_t q = 0; q < tiles[p].columns; ++q) {
        const Vec v = pixels[q] + bias[o];
        store(tiles[p].to + o * y.size() + q * y.batch, relu ? relu_of(v) : v);
      }
    }
}

template <int kNumber>
constexpr std::integral_constant<int, kNumber> number;

// Sums over the lanes of kLanes vectors, in their order.
template <size_t... kLane>
inline Vec totals(Vec (&v)[kLanes], std::index_sequence<kLane...>) {
#if defined(__clang__) || __GNUC__ >= 12
#define EVERY_OTHER(a, b, first) __builtin_shufflevector(a, b, (2 * kLane + first)...)
#else
  typedef int32_t Lanes __attribute__((vector_size(sizeof(Vec))));
#define EVERY_OTHER(a, b, first) __builtin_shuffle(a, b, Lanes{(2 * kLane + first)...})
#endif
#pragma GCC unroll 4
  for (int n = kLanes / 2; n; n /= 2)
#pragma GCC unroll 8
    for (int j = 0; j < n; ++j)
      v[j] = EVERY_OTHER(v[2 * j], v[2 * j + 1], 0) + EVERY_OTHER(v[2 * j], v[2 * j + 1], 1);
#undef EVERY_OTHER
  return v[0];
}

// Sums of one term for kIn input by four output channels over `count` neighbouring tiles.
inline void add_products(const float* x, int64_t x_channel, const float* g, int64_t g_channel, int64_t count,
                         Vec (&sum)[kLanes]) {
  for (; count; --count, x += kLanes, g += kLanes) {
    Vec by[kOut];
#pragma GCC unroll 4
    for (int o = 0; o < kOut; ++o) {
      by[o] = load(g + o * g_channel);
      KEEP(by[o]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < kIn; ++c) {
      Vec v = load(x + c * x_channel);
      KEEP(v);
#pragma GCC unroll 4
      for (int o = 0; o < kOut; ++o) sum[c * kOut + o] += v * by[o];
    }
  }
}

}  // namespace

void winograd_conv(const Parallel& parallel, const Kernel& kernel, bool relu, const float* from, const Planes& x,
                   const float* bias, float* to, const Planes& y) {
  const int64_t in = x.channels, weights_half = 3 * in * kHalf * kOut;
  const float* const weights = terms_of_weights(parallel, kernel);
  // A task is a band of rows of a vector of images, or of two where one has no two tiles side by side.
  const int64_t across = over(y.width, kTile), together = across == 1 ? std::min<int64_t>(kTiles, y.groups()) : 1;
  const int64_t bands = over(y.height, kRows), groups = over(y.groups(), together);
  parallel(bands * groups, [&](int64_t task) {
    const int64_t group = task % groups * together, band = task / groups;
    const int64_t count = std::min(together, y.groups() - group) * across;
    const int64_t top = y.height * band / bands, bottom = y.height * (band + 1) / bands;
    const int64_t first = std::max<int64_t>(top - 1, 0), last = std::min(bottom + 1, x.height);
    const auto place = [&](int64_t t) {  // image and column of tile t
      return std::pair((group + t / across) * kLanes, t % across * kTile);
    };
    // Terms of all tiles as they are read: [kTiles at once][2 halves][rows][in][3 terms][kTiles][kLanes].
    thread_local Scratch scratch;
    const int64_t half = (last - first) * in * kHalf * kLanes;
    float* const own = scratch.get(2 * half * count);
    for (int64_t t = 0; t < count; ++t) {
      const int64_t begin = t / kTiles * kTiles, wide = std::min<int64_t>(kTiles, count - begin);
      const auto [image, column] = place(t);
      float* at = own + 2 * half * begin + (t - begin) * kLanes;
      for (int64_t r = first; r < last; ++r)
        for (int64_t c = 0; c < in; ++c, at += kHalf * wide * kLanes) {
          const float* const row = from + c * x.size() + r * x.width * x.batch + image;
          const Terms terms = terms_of_pixels(row, column - 1, x.width, x.batch);
          for (int m = 0; m < kTerms; ++m)
            store(at + (m / kHalf * half + m % kHalf * kLanes) * wide, terms.at[kOrder[m]]);
        }
    }
    for (int64_t begin = 0; begin < count; begin += kTiles) {
      const int64_t wide = std::min<int64_t>(kTiles, count - begin);
      const auto work = wide == kTiles ? tiles_of<kTiles> : tiles_of<1>;
      for (int64_t r = top; r < bottom; ++r) {
        const int64_t above = std::max<int64_t>(r - 1, 0), rows = std::min(r + 2, x.height) - above;
        const float* const own_rows = own + 2 * half * begin + (above - first) * in * kHalf * wide * kLanes;
        for (int64_t o = 0; o < y.channels; o += kOut) {
          Tile tiles[kTiles];
          for (int64_t p = 0; p < wide; ++p) {
            const auto [image, column] = place(begin + p);
            tiles[p] = {to + o * y.size() + (r * y.width + column) * y.batch + image,
                        std::min<int64_t>(kTile, y.width - column)};
          }
          work(own_rows, half * wide, rows * in,
               weights + o / kOut * 2 * weights_half + (above - r + 1) * in * kHalf * kOut, weights_half, bias + o,
               relu, tiles, y);
        }
      }
    }
  });
}

void winograd_kernel_gradient(const Parallel& parallel, const float* from, const Planes& x, const float* gradient,
                              const Planes& y, float* of_kernel) {
  const int64_t in = x.channels, out = y.channels, across = over(y.width, kTile), line = across * kLanes;
  const Cut cut(y, across, kPositions);
  // A task is a chunk, or, to have kTasks of them, two terms and some input channels of one.
  const int64_t shares = cut.chunks < kTasks ? kTerms / 2 : 1, terms = kTerms / shares;
  const int64_t parts = std::min(over(kTasks, shares * cut.chunks), over(in, kIn));
  const int64_t each = over(over(in, parts), kIn) * kIn;
  const int64_t all = in * out, size = 3 * all;
  thread_local Scratch for_sums;
  float* const sums = for_sums.get(cut.chunks * kTerms * size);  // [chunks][terms][3 rows][in][out]
  parallel(cut.chunks * parts * shares, [&](int64_t task) {
    const int64_t share = task % shares, chunk = task / shares / parts;
    const int64_t in_first = task / shares % parts * each, in_last = std::min(in_first + each, in);
    if (in_first >= in_last) return;
    const Chunk part = cut[chunk];
    const int64_t group = part.group, count = part.count, top = part.top, bottom = part.bottom;
    const int64_t first = std::max<int64_t>(top - 1, 0), last = std::min(bottom + 1, x.height);
    // Terms of what the task reads: [terms][channels][groups][rows][across][kLanes].
    thread_local Scratch scratch;
    const int64_t x_group = (last - first) * line, y_group = (bottom - top) * line;
    const int64_t x_channel = count * x_group + kLanes, y_channel = count * y_group + kLanes;
    const int64_t x_term = (in_last - in_first) * x_channel, y_term = out * y_channel;
    float* const own_x = scratch.get(terms * (x_term + y_term));
    float* const own_g = own_x + terms * x_term;
    const auto transform = [&](auto first_kept, auto last_kept) {
      constexpr int kFirst = decltype(first_kept)::value, kLast = decltype(last_kept)::value;
      const auto keep = [&](const Terms& all_terms, float* to, int64_t step) {
#pragma GCC unroll 6
        for (int m = kFirst; m <= kLast; ++m) store(to + (m - kFirst) * step, all_terms.at[m]);
      };
      for (int64_t i = 0; i < count; ++i) {
        const int64_t image = (group + i) * kLanes;
        for (int64_t c = in_first; c < in_last; ++c) {
          float* at = own_x + (c - in_first) * x_channel + i * x_group;
          for (int64_t r = first; r < last; ++r)
            for (int64_t t = 0; t < across; ++t, at += kLanes)
              keep(terms_of_pixels(from + c * x.size() + r * x.width * x.batch + image, t * kTile - 1, x.width,
                                   x.batch),
                   at, x_term);
        }
        for (int64_t o = 0; o < out; ++o) {
          float* at = own_g + o * y_channel + i * y_group;
          for (int64_t r = top; r < bottom; ++r)
            for (int64_t t = 0; t < across; ++t, at += kLanes)
              keep(terms_of_gradient(gradient + o * y.size() + (r * y.width + t * kTile) * y.batch + image,
                                     y.width - t * kTile, y.batch),
                   at, y_term);
        }
      }
    };
    // The compiler leaves out what is not kept.
    if (shares == 1)
      transform(number<0>, number<5>);
    else if (share == 0)
      transform(number<0>, number<1>);
    else if (share == 1)
      transform(number<2>, number<3>);
    else
      transform(number<4>, number<5>);
    for (int64_t m = 0; m < terms; ++m)
      for (int64_t c = in_first; c < in_last; c += kIn)
        for (int64_t i = 0; i < 3; ++i) {
          // Rows of the result that read a row of the image by row i of the kernel.
          const int64_t begin = std::max<int64_t>(top, i == 0), end = std::min(bottom, x.height + 1 - i);
          const float* const x_rows =
              own_x + m * x_term + (c - in_first) * x_channel + (begin + i - 1 - first) * line;
          const float* const g_rows = own_g + m * y_term + (begin - top) * line;
          float* const to = sums + ((chunk * kTerms + share * terms + m) * 3 + i) * all + c * out;
          for (int64_t o = 0; o < out; o += kOut) {
            Vec sum[kLanes] = {};
            for (int64_t g = 0; g < count; ++g)
              add_products(x_rows + g * x_group, x_channel, g_rows + o * y_channel + g * y_group, y_channel,
                           (end - begin) * across, sum);
            float total[kLanes];
            store(total, totals(sum, std::make_index_sequence<kLanes>()));
            for (int k = 0; k < kIn; ++k) std::copy_n(total + k * kOut, kOut, to + k * out + o);
          }
        }
  });
  constexpr int64_t kAtOnce = 256 * kLanes;
  parallel(over(size, kAtOnce), [&](int64_t task) {
    for (int64_t k = task * kAtOnce, stop = std::min(size, k + kAtOnce); k < stop; k += kLanes) {
      Vec t[kTerms] = {};
      for (int64_t chunk = 0; chunk < cut.chunks; ++chunk)
#pragma GCC unroll 6
        for (int m = 0; m < kTerms; ++m) t[m] += load(sums + (chunk * kTerms + m) * size + k);
      const Vec even_a = (t[2] + t[3]) * of_A, odd_a = (t[2] - t[3]) * of_A;
      const Vec even_b = (t[4] + t[5]) * of_B, odd_b = (t[4] - t[5]) * of_B;
      float* const to = of_kernel + k / all * 3 * all + k % all;
      store(to, t[0] + even_a + even_b);
      store(to + all, A * odd_a + B * odd_b);
      store(to + 2 * all, AA * even_a + BB * even_b + t[1]);
    }
  });
}

}  // namespace mcal
