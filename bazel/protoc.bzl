"""The system's protoc, protoc-gen-c and the protos that come with them, as the repository @protoc."""

_BUILD = """\
package(default_visibility = ["//visibility:public"])

exports_files(["protoc", "protoc-gen-c"] + glob(["google/protobuf/**/*.proto"]))
"""

_TOOLS = {
    "protoc": "protobuf-compiler",
    "protoc-gen-c": "protobuf-c-compiler",
}

_PROTO_DIR = "/usr/include/google/protobuf"

def _implementation(ctx):
    for tool, package in _TOOLS.items():
        path = ctx.which(tool)
        if not path:
            fail("{0} is not installed.  Install the Debian package {1}:  apt-get install {1}".format(
                tool,
                package,
            ))
        ctx.symlink(path, tool)

    if not ctx.path(_PROTO_DIR + "/compiler/plugin.proto").exists:
        fail("The protos in {0} are not installed.  Install the Debian packages {1}:  apt-get install {1}".format(
            _PROTO_DIR,
            "libprotobuf-dev libprotoc-dev",
        ))
    ctx.symlink(_PROTO_DIR, "google/protobuf")
    ctx.file("BUILD", _BUILD)

protoc_repository = repository_rule(
    implementation = _implementation,
    doc = "protoc and its friends as @protoc//:protoc, @protoc//:protoc-gen-c, @protoc//:google/protobuf/*.proto.",
    local = True,
    configure = True,
)
