# docs/reference/filter.awk - lets doxygen see our comments, which are plain ones.
#
#   /* above a declaration */     becomes /** ... */, also for those that follow without a comment
#   member; /* behind it */       becomes member; /**< ... */
#   /* waymark/x.h - what it is   at the file's beginning becomes the file's own
#   /* ---- a heading ---- */     stays
#
# Everything in them is text: what doxygen would take for commands or HTML is escaped. Lines stay lines.

function escaped(text,    code) {
    gsub(/[\\@#%]/, "\\\\&", text)
    gsub(/&/, "\\&amp;", text)
    gsub(/</, "\\&lt;", text)
    gsub(/>/, "\\&gt;", text)
    while (match(text, /`[^`]+`/)) {
        code = substr(text, RSTART + 1, RLENGTH - 2)
        # doxygen loses its way in code that has signs like these; text it takes.
        code = code ~ /&/ ? "\"" code "\"" : "<tt>" code "</tt>"
        text = substr(text, 1, RSTART - 1) code substr(text, RSTART + RLENGTH)
    }
    return text
}

# The part of a line that is inside of a comment; leaves `inside` as it is at the line's end.
function comment(text,    end, said) {
    end = index(text, "*/")
    inside = !end
    said = escaped(end ? substr(text, 1, end - 1) : text)
    sub(/^ *\*/, "", said)
    last = last " " said
    return escaped(end ? substr(text, 1, end - 1) : text) (end ? substr(text, end) : "")
}

FNR == 1 { inside = 0; last = ""; ended = 0 }

inside { print comment($0); next }

# A file's own comment.
FNR == 1 && /^\/\* / {
    rest = substr($0, 4)
    dash = index(rest, " - ")
    if (!dash) { # of generated files: it says who made it
        print "/** @file */"
        next
    }
    name = substr(rest, 1, dash - 1)
    sub(/.*\//, "", name)
    print "/** @file " name " " comment(substr(rest, dash + 3))
    next
}

/^$/ { last = ""; ended = 0 }

/^ *\/\* ----/ || /^#/ { print; next }

# A function right behind another one: what is said above is about both.
!/\/\*/ {
    print (ended && last != "" && /^[a-zA-Z].*\(/ ? "/**" last " */ " : "") $0
    ended = /;$/ ? 1 : 0
    next
}

{
    at = index($0, "/*")
    code = substr($0, 1, at - 1)
    if (code !~ /[^ ]/)
        last = ""
    ended = code ~ /;/
    print code (code ~ /[^ ]/ ? "/**<" : "/**") comment(substr($0, at + 2))
}
