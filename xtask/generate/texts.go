package main

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"io"
	"os"
	"strings"

	"golang.org/x/tools/go/packages"
)

// notice stands at the head of the texts: they are upstream's own words.
const notice = "# Descriptions of the Kubernetes API, from its Go types. Copyright The Kubernetes Authors. " +
	"Licensed under the Apache License, Version 2.0: http://www.apache.org/licenses/LICENSE-2.0"

// text is a comment as the API's OpenAPI documents show it: lines of a paragraph are one line, indented lines
// stand alone; TODOs, markers, and what follows `---` are left out.
func text(group *ast.CommentGroup) string {
	if group == nil {
		return ""
	}
	var out strings.Builder
	// glue is what parts the last line from the next one.
	glue := ""
	for _, line := range commentLines(group) {
		line = strings.TrimRight(line, " ")
		bare := strings.TrimLeft(line, " ")
		switch {
		case line == "---":
			return strings.TrimSpace(out.String())
		case line == "":
			glue = "\n\n"
		case strings.HasPrefix(bare, "TODO"), strings.HasPrefix(bare, "+"):
		case strings.HasPrefix(line, " "), strings.HasPrefix(line, "\t"):
			if glue != "\n\n" {
				glue = "\n"
			}
			out.WriteString(glue + line)
			glue = "\n"
		default:
			out.WriteString(glue + line)
			glue = " "
		}
	}
	return strings.TrimSpace(out.String())
}

// commentLines are a comment's lines without its marks and the one space behind them.
func commentLines(group *ast.CommentGroup) []string {
	var lines []string
	for _, comment := range group.List {
		if body, ok := strings.CutPrefix(comment.Text, "/*"); ok {
			lines = append(lines, strings.Split(strings.TrimSuffix(body, "*/"), "\n")...)
			continue
		}
		line := strings.TrimPrefix(comment.Text, "//")
		if strings.HasPrefix(line, "go:") {
			continue
		}
		lines = append(lines, strings.TrimPrefix(line, " "))
	}
	return lines
}

// readConstantTexts notes what the constants of a declaration are for.
func (w *world) readConstantTexts(p *packages.Package, decl *ast.GenDecl) {
	if decl.Tok != token.CONST {
		return
	}
	for _, spec := range decl.Specs {
		values := spec.(*ast.ValueSpec)
		for _, name := range values.Names {
			object, ok := p.TypesInfo.Defs[name].(*types.Const)
			if !ok || object.Val().Kind() != constant.String {
				continue
			}
			named, ok := types.Unalias(object.Type()).(*types.Named)
			if !ok {
				continue
			}
			key := fullName(named.Obj())
			if w.enumTexts[key] == nil {
				w.enumTexts[key] = map[string]string{}
			}
			w.enumTexts[key][constant.StringVal(object.Val())] = text(values.Doc)
		}
	}
}

// enumText is what upstream appends to the text of an enumerated type's field.
func (t *table) enumText(kind types.Type) string {
	switch kind := types.Unalias(kind).(type) {
	case *types.Pointer:
		return t.enumText(kind.Elem())
	case *types.Named:
		values := t.enum(kind)
		if len(values) == 0 {
			return ""
		}
		out := "\n\nPossible enum values:"
		for _, value := range values {
			if value == "''" {
				value = ""
			}
			out += strings.TrimRight(fmt.Sprintf("\n - `%q` %s", value, strings.Join(strings.Fields(t.world.enumTexts[fullName(kind.Obj())][value]), " ")), " ")
		}
		return out
	}
	return ""
}

// printTexts writes a line per type, `>name text`, below its package's line, and a line per field, `name text`.
func (t *table) printTexts(out io.Writer) {
	escape := strings.NewReplacer("\\", "\\\\", "\n", "\\n")
	line := func(name, text string) {
		fmt.Fprintln(out, strings.TrimRight(name+" "+escape.Replace(text), " "))
	}
	fmt.Fprintln(out, notice)
	for _, path := range sortedKeys(t.lines) {
		fmt.Fprintln(out, "="+modelPackage(path))
		for _, name := range sortedKeys(t.lines[path]) {
			def := t.lines[path][name]
			line(">"+name, def.text)
			for _, field := range def.fieldTexts {
				if field[1] != "" {
					line(field[0], field[1])
				}
			}
		}
	}
	for _, full := range sortedKeys(special) {
		dot := strings.LastIndex(full, ".")
		fmt.Fprintln(out, "="+modelPackage(full[:dot]))
		line(">"+full[dot+1:], t.world.typeTexts[full])
	}
}

// packTexts writes the texts compressed.
func (t *table) packTexts(out io.Writer) error {
	packed, err := zlib.NewWriterLevel(out, zlib.BestCompression)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(packed)
	t.printTexts(buffered)
	if err := buffered.Flush(); err != nil {
		return err
	}
	return packed.Close()
}

// compareTexts fails when a packed file holds other texts: another compressor's bytes may differ.
func (t *table) compareTexts(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	unpacked, err := zlib.NewReader(file)
	if err != nil {
		return err
	}
	have, err := io.ReadAll(unpacked)
	if err != nil {
		return err
	}
	var want bytes.Buffer
	t.printTexts(&want)
	if !bytes.Equal(have, want.Bytes()) {
		return fmt.Errorf("%s does not hold today's texts", path)
	}
	return nil
}
