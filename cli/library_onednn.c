#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>

#include "cli/libraries.h"
#include "kernels/base.h"

/* What oneDNN would use at most, after it has been told what to keep to. */
static const struct {
    dnnl_cpu_isa_t isa;
    const char *name;
} names[] = {
    { dnnl_cpu_isa_sse41, "sse41" },
    { dnnl_cpu_isa_avx, "avx" },
    { dnnl_cpu_isa_avx2, "avx2" },
    { dnnl_cpu_isa_avx2_vnni, "avx2_vnni" },
    { dnnl_cpu_isa_avx512_core, "avx512_core" },
    { dnnl_cpu_isa_avx512_core_vnni, "avx512_core_vnni" },
    { dnnl_cpu_isa_avx512_core_bf16, "avx512_core_bf16" },
    { dnnl_cpu_isa_avx512_core_amx, "avx512_core_amx" },
};

void at_library_onednn(at_library *out)
{
    const dnnl_version_t *v = dnnl_version();
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    snprintf(out->version, sizeof out->version, "%d.%d.%d", v->major, v->minor, v->patch);
    snprintf(out->detail, sizeof out->detail,
             "convolutions and products, with instruction set 0x%x", (unsigned)isa);
    for (size_t i = 0; i < AT_COUNT(names); i++)
        if (names[i].isa == isa)
            snprintf(out->detail, sizeof out->detail, "convolutions and products, with %s",
                     names[i].name);
}
