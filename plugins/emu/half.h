// FP16 and BF16 as the bits have it: exact, rounded to nearest even, with subnormals, infinities and NaN.
#pragma once

namespace ek {

EK_DEVICE float to_float(half_t x) {
    u32 const sign = (x.bits & 0x8000u) << 16;
    u32 const magnitude = (x.bits & 0x7fffu) << 13;
    if (magnitude >= 0x7c00u << 13) return __builtin_bit_cast(float, sign | magnitude | 0x7f800000u);
    // A subnormal counts in 2^-24; else the exponents differ by 112. No FP32 subnormal on the way: those may be
    // flushed.
    float const value = magnitude < 0x400u << 13 ? float(magnitude >> 13) * 0x1p-24f
                                                 : __builtin_bit_cast(float, magnitude + (112u << 23));
    return __builtin_bit_cast(float, sign | __builtin_bit_cast(u32, value));
}

EK_DEVICE half_t to_half(float x) {
    u32 const bits = __builtin_bit_cast(u32, x);
    u32 const sign = bits >> 16 & 0x8000u;
    u32 const magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {u16(0x7fffu)};
    if (magnitude >= 0x47800000u) return {u16(sign | 0x7c00u)};  // 65536 and more
    if (magnitude < 0x38800000u) {
        // Below 2^-14. The last bit of 0.5 is the last bit of a subnormal: the sum rounds as FP32 does.
        float const sum = __builtin_bit_cast(float, magnitude) + 0.5f;
        return {u16(sign | (__builtin_bit_cast(u32, sum) - 0x3f000000u))};
    }
    u32 const odd = magnitude >> 13 & 1u;
    return {u16(sign | (magnitude - (112u << 23) + 0xfffu + odd) >> 13)};
}

EK_DEVICE float to_float(bfloat_t x) { return __builtin_bit_cast(float, u32(x.bits) << 16); }

EK_DEVICE bfloat_t to_bfloat(float x) {
    u32 const bits = __builtin_bit_cast(u32, x);
    if (x != x) return {u16(0x7fffu)};
    return {u16((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

EK_DEVICE u32 pack(bfloat_t low, bfloat_t high) { return u32(low.bits) | u32(high.bits) << 16; }
EK_DEVICE u32 pack(half_t low, half_t high) { return u32(low.bits) | u32(high.bits) << 16; }
EK_DEVICE u32 pack(float low, float high) { return pack(to_half(low), to_half(high)); }

EK_DEVICE void halves_of_bytes(u32 four, u32 (&out)[2]) {
    for (int i = 0; i < 2; ++i) out[i] = pack(float(i8(four >> 16 * i)), float(i8(four >> (16 * i + 8))));
}

}  // namespace ek
