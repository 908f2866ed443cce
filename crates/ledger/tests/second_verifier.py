#!/usr/bin/env python3
"""A second implementation of the ledger's verification, in Python's standard library alone.

It shares no code with the Rust one and uses other algorithms where there is a choice: trees are hashed by the recursive
definition of RFC 6962, proofs are folded by the recursive definition, Ed25519 is written out from RFC 8032.

    python3 crates/ledger/tests/second_verifier.py vectors/ledger          check every vector
    python3 crates/ledger/tests/second_verifier.py FILE.tlog-proof KEY     check one entry's evidence, print the entry
    python3 crates/ledger/tests/second_verifier.py DIRECTORY KEY           check a published log: every entry, every tile

Exit code 0 when everything is as stated, 1 when something is not.
"""

import base64
import hashlib
import json
import pathlib
import sys

# --- Ed25519 verification, RFC 8032 section 5.1.7

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def recover_x(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def point(data):
    y = int.from_bytes(data, "little")
    x = recover_x(y & (1 << 255) - 1, y >> 255)
    return None if x is None else (x, y & (1 << 255) - 1, 1, x * (y & (1 << 255) - 1) % P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(n, p):
    q = (0, 1, 1, 0)
    while n:
        if n & 1:
            q = add(q, p)
        p, n = add(p, p), n >> 1
    return q


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = point(BASE_Y.to_bytes(32, "little"))


def signature_fits(public, message, signature):
    a, r = point(public), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = multiply(s, BASE), add(r, multiply(k, a))
    return not ((left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P)


# --- Merkle tree, RFC 6962 section 2.1


def sha256(data):
    return hashlib.sha256(data).digest()


def leaf(entry):
    return sha256(b"\x00" + entry)


def node(left, right):
    return sha256(b"\x01" + left + right)


def split(n):
    return 1 << (n - 1).bit_length() - 1


def root(leaves):
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node(root(leaves[:k]), root(leaves[k:]))


def inclusion_root(hash_, index, size, path):
    """The root that an audit path leads to; None when its length is wrong."""
    if not 0 <= index < size:
        return None
    if size == 1:
        return hash_ if not path else None
    if not path:
        return None
    k = split(size)
    if index < k:
        below = inclusion_root(hash_, index, k, path[:-1])
        return below and node(below, path[-1])
    below = inclusion_root(hash_, index - k, size - k, path[:-1])
    return below and node(path[-1], below)


def consistency_roots(old, size, path, old_root, known=True):
    """Old and new root that a consistency proof leads to; None when its length is wrong."""
    if old == size:
        if known:
            return (old_root, old_root) if not path else None
        return (path[0], path[0]) if len(path) == 1 else None
    if not path:
        return None
    k = split(size)
    if old <= k:
        below = consistency_roots(old, k, path[:-1], old_root, known)
        return below and (below[0], node(below[1], path[-1]))
    below = consistency_roots(old - k, size - k, path[:-1], old_root, False)
    return below and (node(path[-1], below[0]), node(path[-1], below[1]))


# --- notes, checkpoints, evidence


class Refused(Exception):
    pass


def need(condition, why):
    if not condition:
        raise Refused(why)


def unbase64(text):
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused("not Base64") from error
    need(base64.b64encode(data).decode() == text, "Base64 in another spelling")
    return data


def decimal(text):
    need(text.isascii() and text.isdigit() and str(int(text)) == text, "not a decimal number")
    return int(text)


def parse_key(text, type_=b"\x01"):
    name, key_id, material = text.split("+", 2)
    material = unbase64(material)
    need(material[:1] == type_ and len(material) == 33, "not an Ed25519 key")
    expected = sha256(name.encode() + b"\n" + material)[:4]
    need(expected.hex() == key_id, "the key's hash is not its own")
    return name, expected, material[1:]


def open_note(note, key):
    name, key_id, public = key
    need("\n\n" in note and note.endswith("\n"), "not a note")
    border = note.rindex("\n\n") + 1
    text, lines = note[:border], note[border + 1 : -1].split("\n")
    signed = False
    for line in lines:
        parts = line.split(" ")
        need(len(parts) == 3 and parts[0] == "\u2014", "not a signature line")
        signature = unbase64(parts[2])
        if parts[1] == name and signature[:4] == key_id:
            need(signature_fits(public, text.encode(), signature[4:]), "the signature does not fit")
            signed = True
    need(signed, "not signed by the key")
    return text


def open_checkpoint(note, key):
    lines = open_note(note, key)[:-1].split("\n")
    need(len(lines) >= 3 and all(lines), "not a checkpoint")
    need(lines[0] == key[0], "of another log")
    size, hash_ = decimal(lines[1]), unbase64(lines[2])
    need(size < 2**53 and len(hash_) == 32, "size or root out of range")
    need(size or hash_ == sha256(b""), "the empty tree has another root")
    return size, hash_


def cosigned_at(note, cosigner):
    """When a known cosigner cosigned a signed checkpoint (C2SP tlog-cosignature, cosignature/v1)."""
    name, key_id, public = cosigner
    need("\n\n" in note and note.endswith("\n"), "not a note")
    border = note.rindex("\n\n") + 1
    times = []
    for line in note[border + 1 : -1].split("\n"):
        parts = line.split(" ")
        need(len(parts) == 3 and parts[0] == "\u2014", "not a signature line")
        material = unbase64(parts[2])
        if parts[1] == name and material[:4] == key_id:
            time = int.from_bytes(material[4:12], "big")
            message = f"cosignature/v1\ntime {time}\n{note[:border]}".encode()
            need(signature_fits(public, message, material[12:]), "the cosignature does not fit")
            times.append(time)
    need(times, "not cosigned by the key")
    return times[0]


def witness_answer(request, last, leaves, key):
    """The status of a witness's answer (C2SP tlog-witness); `last` is the size cosigned last, None before the first."""
    try:
        head, note = request.split("\n\n", 1)
        old, *proof = head.split("\n")
        need(old.startswith("old ") and len(proof) <= 63, "not a request")
        old, proof = decimal(old[4:]), [unbase64(line) for line in proof]
        need(all(len(hash_) == 32 for hash_ in proof), "not a hash")
    except (Refused, ValueError):
        return 400
    if note.split("\n", 1)[0] != key[0]:
        return 404
    try:
        size, new_root = open_checkpoint(note, key)
    except Refused:
        return 403
    if old > size:
        return 400
    if old != (last or 0):
        return 409
    if last is None:
        return 200 if not proof else 422
    old_root = root(leaves[:last])
    if old == size:
        return 409 if new_root != old_root else 200 if not proof else 422
    return 200 if consistency_roots(old, size, proof, old_root) == (old_root, new_root) else 422


def open_evidence(text, key):
    need("\n\n" in text, "not evidence")
    proof, checkpoint = text.split("\n\n", 1)
    first, extra, index, *path = proof.split("\n")
    need(first == "c2sp.org/tlog-proof@v1", "not evidence")
    need(extra.startswith("extra ") and index.startswith("index "), "entry or index missing")
    entry, index = unbase64(extra[6:]), decimal(index[6:])
    size, signed_root = open_checkpoint(checkpoint, key)
    path = [unbase64(line) for line in path]
    need(inclusion_root(leaf(entry), index, size, path) == signed_root, "the entry is not in the ledger")
    need(canonical(json.loads(entry)) == entry.decode(), "the entry is not canonical JSON")
    return index, entry


# RFC 8785 for what entries hold: ASCII member names, strings and integers.
def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# --- the vectors


def refuses(what, read):
    try:
        read()
    except (Refused, ValueError):
        return
    raise Refused(f"accepted, and must be refused: {what!r:.200}")


def check_entry(vector):
    for case in vector["accepted"]:
        entry = case["encoded"]
        need(canonical(json.loads(entry)) == entry, "not canonical")
        need(leaf(entry.encode()).hex() == case["leaf_hash"], "another leaf hash")


def check_tree(vector):
    leaves = [leaf(f"leaf {i}".encode()) for i in range(vector["leaves"])]
    for case in vector["roots"]:
        need(root(leaves[: case["size"]]).hex() == case["root"], f"another root at {case['size']}")
    for case in vector["inclusion"]:
        index, size, path = case["index"], case["size"], [bytes.fromhex(h) for h in case["path"]]
        need(inclusion_root(leaves[index], index, size, path) == root(leaves[:size]), f"inclusion {case}")
    for case in vector["consistency"]:
        old, size, path = case["old"], case["size"], [bytes.fromhex(h) for h in case["path"]]
        roots = root(leaves[:old]), root(leaves[:size])
        need(consistency_roots(old, size, path, roots[0]) == roots, f"consistency {case}")


def tile_path(index, width):
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return path if width == 256 else f"{path}.p/{width}"


def check_tile(vector):
    for tile in vector["tiles"]:
        need(f"tile/{tile['level']}/{tile_path(tile['index'], tile['width'])}" == tile["path"], f"path of {tile}")
    for bundle in vector["bundles"]:
        data = b"".join(len(e).to_bytes(2, "big") + e.encode() for e in bundle["entries"])
        need(data.hex() == bundle["bytes"], "another bundle")
        need("tile/entries/" + tile_path(bundle["index"], len(bundle["entries"])) == bundle["path"], "bundle path")


def check_note(vector):
    key = parse_key(vector["verifier_key"])
    need(open_note(vector["signed"], key) == vector["text"], "another text")
    for note in vector["refused"]:
        refuses(note, lambda note=note: open_note(note, key))


def check_checkpoint(vector):
    key = parse_key(vector["verifier_key"])
    need(open_checkpoint(vector["signed"], key) == (vector["size"], bytes.fromhex(vector["root"])), "another head")
    for signed in vector["refused"]:
        refuses(signed, lambda signed=signed: open_checkpoint(signed, key))


def check_proof(vector):
    key = parse_key(vector["verifier_key"])
    for case in vector["accepted"]:
        need(open_evidence(case["evidence"], key) == (case["index"], case["entry"].encode()), "another entry")
    for evidence in vector["refused"]:
        refuses(evidence, lambda evidence=evidence: open_evidence(evidence, key))


def check_ledger(vector):
    key = parse_key(vector["verifier_key"])
    leaves = [leaf(entry.encode()) for entry in vector["entries"]]
    for signed in [*vector["checkpoints"], vector["latest"]]:
        size, signed_root = open_checkpoint(signed, key)
        need(root(leaves[:size]) == signed_root, f"another root at {size}")
    need(open_checkpoint(vector["latest"], key)[0] == len(leaves), "entries after the latest checkpoint")
    first, origin, epoch, size, head_root, end = vector["head"].split("\n")
    need((first, origin, epoch, end) == ("accredit-head/v1", f"origin {key[0]}", "epoch 0", ""), "not the head")
    need(root(leaves[: int(size.split(" ")[1])]) == unbase64(head_root.split(" ")[1]), "another outside root")


def check_cosignature(vector):
    key, cosigner = parse_key(vector["verifier_key"]), parse_key(vector["cosigner_key"], b"\x04")
    open_checkpoint(vector["signed"], key)
    need(cosigned_at(vector["signed"], cosigner) == vector["time_s"], "another time")
    for signed in vector["refused"]:
        refuses(signed, lambda signed=signed: cosigned_at(signed, cosigner))


def check_witness(vector):
    key = parse_key(vector["verifier_key"])
    leaves = [leaf(entry.encode()) for entry in vector["entries"]]
    for case in vector["cases"]:
        status = witness_answer(case["request"], case["last"], leaves, key)
        need(status == case["status"], f"{case['name']}: {status} instead of {case['status']}")


CHECKS = [
    check_entry,
    check_tree,
    check_tile,
    check_note,
    check_checkpoint,
    check_proof,
    check_ledger,
    check_cosignature,
    check_witness,
]


# --- a published log, C2SP tlog-tiles


def in_files(count):
    """Index and width of the files that hold so many items, 256 a file."""
    return [(index, min(256, count - index * 256)) for index in range(-(-count // 256))]


def check_published(folder, key):
    size, signed_root = open_checkpoint((folder / "checkpoint").read_text("utf-8"), key)
    leaves = []
    for index, width in in_files(size):
        data = (folder / "tile/entries" / tile_path(index, width)).read_bytes()
        for _ in range(width):
            length = int.from_bytes(data[:2], "big")
            need(len(data) >= 2 + length, f"bundle {index} is cut short")
            leaves.append(leaf(data[2 : 2 + length]))
            data = data[2 + length :]
        need(not data, f"bundle {index} holds more than its entries")
    need(root(leaves) == signed_root, "the entries are not those that were signed")
    level, hashes = 0, leaves
    while hashes:
        for index, width in in_files(len(hashes)):
            stored = (folder / f"tile/{level}" / tile_path(index, width)).read_bytes()
            need(stored == b"".join(hashes[index * 256 : index * 256 + width]), f"tile {level}/{index} is another")
        level, hashes = level + 1, [root(hashes[i : i + 256]) for i in range(0, len(hashes) // 256 * 256, 256)]
    return size


def main(arguments):
    if len(arguments) == 2 and pathlib.Path(arguments[0]).is_dir():
        print(f"{check_published(pathlib.Path(arguments[0]), parse_key(arguments[1]))} entries, every tile as signed")
        return 0
    if len(arguments) == 2:
        index, entry = open_evidence(pathlib.Path(arguments[0]).read_text("utf-8"), parse_key(arguments[1]))
        print(f"entry {index}: {entry.decode()}")
        return 0
    folder = pathlib.Path(arguments[0] if arguments else "vectors/ledger")
    failed = 0
    for check in CHECKS:
        name = check.__name__.removeprefix("check_") + ".json"
        try:
            check(json.loads((folder / name).read_text("utf-8")))
            print(f"{name}: as stated")
        except Refused as error:
            failed = 1
            print(f"{name}: {error}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refused as error:
        sys.exit(f"refused: {error}")
