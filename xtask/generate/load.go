package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"sort"
	"strings"

	"golang.org/x/tools/go/packages"
)

// world is everything that was read: types by full Go name, and the markers in comments.
type world struct {
	scope      map[string]*types.Package
	fieldDocs  map[*types.Var]markers
	typeDocs   map[string]markers
	enumValues map[string][]string
	typeTexts  map[string]string
	fieldTexts map[*types.Var]string
	// enumTexts is what each value of an enumerated type is for, by type and value.
	enumTexts map[string]map[string]string
}

// markers are a comment's `+name=value` lines.
type markers map[string][]string

func (m markers) has(name string) bool { return len(m[name]) > 0 }

func (m markers) first(name string) string {
	if values := m[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

func load() (*table, error) {
	config := &packages.Config{Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax |
		packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedDeps}
	loaded, err := packages.Load(config, packageNames()...)
	if err != nil {
		return nil, err
	}
	w := &world{
		map[string]*types.Package{}, map[*types.Var]markers{}, map[string]markers{}, map[string][]string{},
		map[string]string{}, map[*types.Var]string{}, map[string]map[string]string{},
	}
	for _, p := range loaded {
		if len(p.Errors) > 0 {
			return nil, fmt.Errorf("%s: %v", p.PkgPath, p.Errors[0])
		}
	}
	packages.Visit(loaded, nil, func(p *packages.Package) {
		if strings.HasPrefix(p.PkgPath, "k8s.io/") {
			w.read(p)
		}
	})
	t := newTable(w)
	for _, p := range loaded {
		names := p.Types.Scope().Names()
		for _, name := range names {
			if object, ok := p.Types.Scope().Lookup(name).(*types.TypeName); ok && isKind(object) {
				if err := t.add(object); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, root := range extraRoots {
		dot := strings.LastIndex(root, ".")
		object := w.scope[root[:dot]].Scope().Lookup(root[dot+1:])
		if err := t.add(object.(*types.TypeName)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func packageNames() []string {
	sorted := append([]string{}, packageList...)
	sort.Strings(sorted)
	return sorted
}

// isKind: an exported struct that has apiVersion and kind.
func isKind(object *types.TypeName) bool {
	structure, ok := object.Type().Underlying().(*types.Struct)
	if !ok || !object.Exported() || object.IsAlias() {
		return false
	}
	for i := 0; i < structure.NumFields(); i++ {
		if field := structure.Field(i); field.Embedded() && field.Name() == "TypeMeta" {
			return true
		}
	}
	return false
}

func (w *world) read(p *packages.Package) {
	w.scope[p.PkgPath] = p.Types
	for _, file := range p.Syntax {
		ends := map[int]*ast.CommentGroup{}
		for _, group := range file.Comments {
			ends[p.Fset.Position(group.End()).Line] = group
		}
		for _, decl := range file.Decls {
			general, ok := decl.(*ast.GenDecl)
			if ok && general.Tok == token.CONST {
				w.readConstantTexts(p, general)
			}
			if !ok || general.Tok != token.TYPE {
				continue
			}
			for _, spec := range general.Specs {
				w.readType(p, general, spec.(*ast.TypeSpec), ends)
			}
		}
	}
	w.readConstants(p)
}

func (w *world) readType(p *packages.Package, decl *ast.GenDecl, spec *ast.TypeSpec, ends map[int]*ast.CommentGroup) {
	found := markers{}
	doc := spec.Doc
	if doc == nil {
		doc = decl.Doc
	}
	first := decl.Pos()
	if doc != nil {
		collect(found, doc)
		first = doc.Pos()
	}
	// Upstream's generators also read a block of markers that one empty line parts from the comment.
	if block := ends[p.Fset.Position(first).Line-2]; block != nil {
		collect(found, block)
	}
	w.typeDocs[p.PkgPath+"."+spec.Name.Name] = found
	w.typeTexts[p.PkgPath+"."+spec.Name.Name] = text(doc)
	structure, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	for _, field := range structure.Fields.List {
		found := markers{}
		if field.Doc != nil {
			collect(found, field.Doc)
		}
		if len(field.Names) == 0 {
			if object, ok := p.TypesInfo.Defs[embeddedName(field.Type)].(*types.Var); ok {
				w.fieldTexts[object] = text(field.Doc)
			}
		}
		for _, name := range field.Names {
			if object, ok := p.TypesInfo.Defs[name].(*types.Var); ok {
				w.fieldDocs[object] = found
				w.fieldTexts[object] = text(field.Doc)
			}
		}
	}
}

// embeddedName is the name that an embedded field has from its type.
func embeddedName(kind ast.Expr) *ast.Ident {
	switch kind := kind.(type) {
	case *ast.StarExpr:
		return embeddedName(kind.X)
	case *ast.SelectorExpr:
		return kind.Sel
	case *ast.Ident:
		return kind
	}
	return nil
}

// readConstants notes the values of every string type that is marked +enum.
func (w *world) readConstants(p *packages.Package) {
	for _, name := range p.Types.Scope().Names() {
		object, ok := p.Types.Scope().Lookup(name).(*types.Const)
		if !ok || object.Val().Kind() != constant.String {
			continue
		}
		if named, ok := types.Unalias(object.Type()).(*types.Named); ok {
			key := fullName(named.Obj())
			if w.typeDocs[key].has("enum") {
				w.enumValues[key] = append(w.enumValues[key], constant.StringVal(object.Val()))
			}
		}
	}
}

func collect(into markers, group *ast.CommentGroup) {
	for _, comment := range group.List {
		for _, line := range strings.Split(strings.TrimPrefix(comment.Text, "//"), "\n") {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "+") {
				continue
			}
			name, value, _ := strings.Cut(line[1:], "=")
			into[name] = append(into[name], value)
		}
	}
}

func fullName(object *types.TypeName) string {
	if object.Pkg() == nil {
		return object.Name()
	}
	return object.Pkg().Path() + "." + object.Name()
}
