#!/usr/bin/env bash
# tests/clients/java/build.sh OUT - grpc-java by Maven, with the stubs that its protoc plugin makes.
# needs: java javac mvn protoc grpc_java_plugin
set -euo pipefail

out=$1
cd "$(dirname "$(readlink -f "$0")")"
mkdir -p "$out"
# Compiling needs no network any more when everything has been resolved before.
maven() {
    mvn -q -B -Dout="$out" "$@"
}
cmp -s pom.xml "$out/fetched.xml" || { maven dependency:go-offline || exit 77; }
cp pom.xml "$out/fetched.xml"
maven -o compile dependency:build-classpath -Dmdep.outputFile="$out/classpath"
cat >"$out/client" <<END
#!/bin/sh
exec java -XX:TieredStopAtLevel=1 -cp '$out/target/classes:$(cat "$out/classpath")' waymark.scenario.Main
END
chmod +x "$out/client"
