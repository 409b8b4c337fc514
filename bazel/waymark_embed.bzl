"""waymark_embed: files of the tree (SQL, descriptor sets) as constant data in a C library."""

def waymark_embed(name, srcs, visibility = None):
    """Embeds srcs as the table `name` of bazel/embed/embedded.h, declared in "<package>/<name>.h".

    Args:
      name: of the library, the header and the C table.
      srcs: the files; the table is sorted by their base names.
      visibility: of the library.
    """
    header = name + ".h"
    source = name + ".c"
    include = native.package_name() + "/" + header
    native.genrule(
        name = name + "_embed",
        srcs = srcs,
        outs = [header, source],
        cmd = "$(location //bazel/embed) {} $(location {}) $(location {}) {} $(SRCS)".format(
            name,
            header,
            source,
            include,
        ),
        tools = ["//bazel/embed"],
    )
    native.cc_library(
        name = name,
        srcs = [source],
        hdrs = [header],
        visibility = visibility,
        deps = ["//bazel/embed:embedded"],
    )
