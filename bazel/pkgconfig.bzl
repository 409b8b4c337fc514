"""System libraries as Bazel repositories, by way of pkg-config.

A library's headers are read where the system keeps them.  Directories that the compiler searches
anyway are left alone; others (hiredis, postgresql) are linked into the repository so that Bazel
lets targets include from them.
"""

_DEFAULT_DIRS = ["/usr/include", "/usr/local/include"]

_BUILD = """\
package(default_visibility = ["//visibility:public"])

cc_library(
    name = "{name}",
    hdrs = glob(["include_*/**/*.h"]),
    defines = {defines},
    includes = {includes},
    linkopts = {linkopts},
)
"""

def _missing(ctx, what):
    fail("\n".join([
        "",
        "The library {} is not installed: {}.".format(ctx.name, what),
        "Install the Debian package {0}:  apt-get install {0}".format(ctx.attr.debian_package),
        "(./dev build installs everything that is missing.)",
    ]))

def _pkg_config(ctx, option):
    tool = ctx.which("pkg-config")
    if not tool:
        fail("pkg-config is not installed.  Install the Debian package pkg-config.")
    result = ctx.execute([tool, option] + ctx.attr.modules)
    if result.return_code != 0:
        _missing(ctx, "pkg-config {} {} failed: {}".format(
            option,
            " ".join(ctx.attr.modules),
            result.stderr.strip().split("\n")[0],
        ))
    return [flag for flag in result.stdout.replace("\n", " ").split(" ") if flag]

def _is_default_dir(directory):
    return directory in _DEFAULT_DIRS or (
        directory.startswith("/usr/include/") and directory.endswith("-linux-gnu")
    )

def _has_header(ctx):
    for root in ["/usr/include", "/usr/local/include"]:
        if ctx.path(root + "/" + ctx.attr.header).exists:
            return True
    result = ctx.execute(["sh", "-c", "ls /usr/include/*-linux-gnu/" + ctx.attr.header])
    return result.return_code == 0

def _unique(items):
    seen = {}
    for item in items:
        seen[item] = True
    return seen.keys()

def _implementation(ctx):
    defines = []
    include_dirs = []
    linkopts = list(ctx.attr.linkopts)

    if not _has_header(ctx):
        _missing(ctx, "there is no header " + ctx.attr.header)
    if ctx.attr.modules:
        for flag in _pkg_config(ctx, "--cflags"):
            if flag.startswith("-D"):
                defines.append(flag[2:])
            elif flag.startswith("-I") and not _is_default_dir(flag[2:]):
                include_dirs.append(flag[2:])
        linkopts = _pkg_config(ctx, "--libs") + linkopts

    # gRPC names sixty libraries, most of which nothing of ours calls.
    if linkopts:
        linkopts = ["-Wl,--push-state,--as-needed"] + linkopts + ["-Wl,--pop-state"]

    includes = []
    for i, directory in enumerate(_unique(include_dirs)):
        ctx.symlink(directory, "include_%d" % i)
        includes.append("include_%d" % i)

    ctx.file("BUILD", _BUILD.format(
        name = ctx.name,
        defines = repr(defines),
        includes = repr(includes),
        linkopts = repr(linkopts),
    ))

pkgconfig_repository = repository_rule(
    implementation = _implementation,
    attrs = {
        "debian_package": attr.string(mandatory = True, doc = "What to install when it is missing"),
        "header": attr.string(mandatory = True, doc = "A header that proves it is installed"),
        "linkopts": attr.string_list(doc = "Linker flags beyond those of pkg-config"),
        "modules": attr.string_list(doc = "pkg-config modules; none for header-only libraries"),
    },
    doc = "A system library as @name//:name.",
    local = True,
    configure = True,
    environ = ["PKG_CONFIG_PATH"],
)
