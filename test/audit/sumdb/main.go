// Reads an exported log (C2SP tlog-tiles) with Go's own golang.org/x/mod/sumdb and says what is wrong with it.
// usage: main DIR SAMPLE     DIR holds vkey, checkpoint, tile/...; every SAMPLEth record gets an inclusion proof too.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type files struct{ dir string }

func (f files) Height() int                     { return 8 }
func (f files) SaveTiles([]tlog.Tile, [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		// Go's path has the height in front of the level; tlog-tiles fixes it at eight and leaves it out.
		path := "tile/" + strings.TrimPrefix(t.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(f.dir, path))
		if err != nil && t.W < 256 {
			full := t
			full.W = 256
			data, err = os.ReadFile(filepath.Join(f.dir, "tile/"+strings.TrimPrefix(full.Path(), "tile/8/")))
			if err == nil && len(data) >= t.W*32 {
				data = data[:t.W*32]
			}
		}
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func fail(format string, args ...any) {
	fmt.Printf("REJECTED "+format+"\n", args...)
	os.Exit(1)
}

func open(dir, name string, verifier note.Verifier) tlog.Tree {
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		fail("%v", err)
	}
	n, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		fail("note.Open %s: %v", name, err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		fail("%s is not origin, size, root", name)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		fail("%v", err)
	}
	hash, err := tlog.ParseHash(lines[2])
	if err != nil {
		fail("%v", err)
	}
	return tlog.Tree{N: size, Hash: hash}
}

func main() {
	dir := os.Args[1]
	sample, _ := strconv.ParseInt(os.Args[2], 10, 64)
	vkey, err := os.ReadFile(filepath.Join(dir, "vkey"))
	if err != nil {
		fail("%v", err)
	}
	verifier, err := note.NewVerifier(strings.TrimSpace(string(vkey)))
	if err != nil {
		fail("note.NewVerifier: %v", err)
	}
	tree := open(dir, "checkpoint", verifier)
	reader := tlog.TileHashReader(tree, files{dir})
	if _, err := os.Stat(filepath.Join(dir, "checkpoint.old")); err == nil {
		old := open(dir, "checkpoint.old", verifier)
		proof, err := tlog.ProveTree(tree.N, old.N, reader)
		if err != nil {
			fail("ProveTree: %v", err)
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			fail("CheckTree: %v", err)
		}
	}
	var record int64
	for bundle := int64(0); record < tree.N; bundle++ {
		width := tree.N - bundle*256
		if width > 256 {
			width = 256
		}
		tile := tlog.Tile{H: 8, L: -1, N: bundle, W: int(width)}
		path := "tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/data/")
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			fail("%v", err)
		}
		var indexes []int64
		var hashes []tlog.Hash
		in := bytes.NewReader(data)
		for i := int64(0); i < width; i++ {
			var length uint16
			if err := binary.Read(in, binary.BigEndian, &length); err != nil {
				fail("entry %d: %v", record+i, err)
			}
			entry := make([]byte, length)
			if n, _ := in.Read(entry); n != int(length) {
				fail("entry %d is cut off", record+i)
			}
			indexes = append(indexes, tlog.StoredHashIndex(0, record+i))
			hashes = append(hashes, tlog.RecordHash(entry))
		}
		stored, err := reader.ReadHashes(indexes)
		if err != nil {
			fail("ReadHashes: %v", err)
		}
		for i := range stored {
			if stored[i] != hashes[i] {
				fail("entry %d does not have the hash in the tree", record+int64(i))
			}
			if at := record + int64(i); at%sample == 0 {
				proof, err := tlog.ProveRecord(tree.N, at, reader)
				if err != nil {
					fail("ProveRecord: %v", err)
				}
				if err := tlog.CheckRecord(proof, tree.N, tree.Hash, at, hashes[i]); err != nil {
					fail("CheckRecord %d: %v", at, err)
				}
			}
		}
		record += width
	}
	fmt.Printf("OK %d\n", tree.N)
}
