#!/bin/sh
# Builds the Debian packages from what is committed: `debian/build.sh FOLDER` leaves them in FOLDER. `make deb` calls it.
# DEBFULLNAME and DEBEMAIL name who answers for what is built; without them the packages have an address that leads nowhere.
# The wheels that a driver carries are fetched here, before the build, which then needs no network.
set -eu
cd "$(dirname "$0")/.."
out=${1:?usage: debian/build.sh FOLDER}
python=${PYTHON:-python3}

version=$(sed -n '1s/.*(\([^-]*\)-.*/\1/p' debian/changelog)
declared=$(sed -n 's/^version = //p' setup.cfg)
[ "$version" = "$declared" ] || { echo "debian/changelog says $version, setup.cfg $declared: make them agree" >&2; exit 1; }

mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/cloud-dispatcher-$version

git archive --prefix="cloud-dispatcher-$version/" HEAD | tar -x -C "$work"
if [ -n "${DEBEMAIL:-}" ]; then
    maintainer="${DEBFULLNAME:-Cloud Dispatcher packagers} <$DEBEMAIL>"
    awk -v by="$maintainer" '/^Maintainer: /{$0 = "Maintainer: " by} {print}' debian/control >"$tree/debian/control"
    awk -v by="$maintainer" '/^ -- /{sub(/ -- .*>  /, ""); $0 = " -- " by "  " $0} {print}' debian/changelog >"$tree/debian/changelog"
fi

wheels=${WHEELS:-}
if [ -n "$wheels" ]; then
    cp -r "$wheels" "$tree/wheels"
else
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
        --dest "$tree/wheels" --requirement debian/carried/azure.txt
fi
tar -C "$work" --exclude="cloud-dispatcher-$version/debian" --sort=name --owner=0 --group=0 --numeric-owner \
    --mtime="@$(git log -1 --format=%ct)" -cJf "$work/cloud-dispatcher_$version.orig.tar.xz" "cloud-dispatcher-$version"

cd "$tree"
PATH=/usr/sbin:/usr/bin:/sbin:/bin  # Debian's Python, whatever others there are
dpkg-checkbuilddeps || { echo "install them: apt-get build-dep ." >&2; exit 1; }
dpkg-buildpackage --unsigned-source --unsigned-changes </dev/null >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
cp "$work"/*.deb "$work"/*.dsc "$work"/*.tar.* "$work"/*.changes "$work"/*.buildinfo "$out"
ls "$out"/*.deb
