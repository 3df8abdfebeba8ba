// The primitives as instructions. No header of CUDA is included: NVRTC needs none, and a Jetson's nvcc has its own.
// The instructions and the layouts of their operands: NVIDIA, PTX ISA, "Warp-level matrix instructions", "cp.async".
#pragma once

#define EK_DEVICE __device__ __forceinline__
#define EK_SHARED(name) extern __shared__ __align__(128) unsigned char name[]

namespace ek {

EK_DEVICE float to_float(half_t x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

EK_DEVICE half_t to_half(float x) {
    half_t y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

EK_DEVICE float to_float(bfloat_t x) { return __uint_as_float(u32(x.bits) << 16); }

EK_DEVICE bfloat_t to_bfloat(float x) {
    bfloat_t y;
#if __CUDA_ARCH__ >= 800
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
    u32 const bits = __float_as_uint(x);  // half of the last place is added, less where it ends in an even number
    y.bits = x == x ? u16((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16) : u16(0x7fff);
#endif
    return y;
}

EK_DEVICE u32 pack(bfloat_t low, bfloat_t high) { return u32(low.bits) | u32(high.bits) << 16; }
EK_DEVICE u32 pack(half_t low, half_t high) { return u32(low.bits) | u32(high.bits) << 16; }
EK_DEVICE u32 pack(float low, float high) { return pack(to_half(low), to_half(high)); }

// 1024 + b has the byte b at the end of its FP16 bits; flipping a byte's sign adds 128 to it.
EK_DEVICE void halves_of_bytes(u32 four, u32 (&out)[2]) {
    u32 const biased = four ^ 0x80808080u;
    out[0] = __byte_perm(biased, 0x64646464u, 0x4140);
    out[1] = __byte_perm(biased, 0x64646464u, 0x4342);
    // volatile: else the compiler takes it out of the loop over the steps, and keeps FP16 where INT8 was to stay.
    for (u32& pair : out) asm volatile("sub.f16x2 %0, %0, %1;" : "+r"(pair) : "r"(0x64806480u));
}

EK_DEVICE void sync_warp() { __syncwarp(); }

template <typename T>
EK_DEVICE T shuffle(T value, int lane) {
    return __shfl_sync(0xffffffffu, value, lane);
}

template <typename T>
EK_DEVICE T shuffle_xor(T value, int mask) {
    return __shfl_xor_sync(0xffffffffu, value, mask);
}

EK_DEVICE void mma_16x8x8(float (&d)[4], u32 const (&a)[2], u32 b) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
}

EK_DEVICE void mma_16x8x16(float (&d)[4], u32 const (&a)[4], u32 const (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    mma_16x8x8(d, {a[0], a[1]}, b[0]);
    mma_16x8x8(d, {a[2], a[3]}, b[1]);
#endif
}

EK_DEVICE void mma_16x8x16_bfloat(float (&d)[4], u32 const (&a)[4], u32 const (&b)[2]) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    asm volatile("trap;");
#endif
}

EK_DEVICE u32 shared_address(void const* pointer) { return u32(__cvta_generic_to_shared(pointer)); }

// Lane l names row l % 8 of the matrix l / 8; each row has eight FP16 numbers.
EK_DEVICE void ldmatrix_x2(u32 (&r)[2], void const* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row))
                 : "memory");
}

EK_DEVICE void ldmatrix_x4(u32 (&r)[4], void const* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

EK_DEVICE void ldmatrix_x2_trans(u32 (&r)[2], void const* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(shared_address(row))
                 : "memory");
}

EK_DEVICE void ldmatrix_x4_trans(u32 (&r)[4], void const* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

template <int Bytes>
EK_DEVICE void copy_async(void* shared, void const* global, bool valid) {
    static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "cp.async copies 4, 8 or 16 bytes");
#if __CUDA_ARCH__ >= 800
    int const read = valid ? Bytes : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;"
                 :
                 : "r"(shared_address(shared)), "l"(global), "n"(Bytes), "r"(read)
                 : "memory");
#else
    for (int i = 0; i < Bytes / 4; ++i) static_cast<u32*>(shared)[i] = valid ? static_cast<u32 const*>(global)[i] : 0u;
#endif
}

EK_DEVICE void commit_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int Pending>
EK_DEVICE void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
#endif
}

template <typename T>
EK_DEVICE T load_from_l2(T const* pointer) {
    return __ldcg(pointer);
}

EK_DEVICE void add_release(u32* counter) {
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
}

EK_DEVICE void wait_until(u32 const* counter, u32 value) {
    u32 found;
    do {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(found) : "l"(counter) : "memory");
    } while (found < value);
}

EK_DEVICE float infinity() { return __uint_as_float(0x7f800000u); }
EK_DEVICE float exp(float x) { return __expf(x); }
EK_DEVICE float exp2(float x) { return exp2f(x); }
EK_DEVICE float tanh(float x) { return tanhf(x); }

}  // namespace ek
