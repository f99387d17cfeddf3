# Courses: what is taught, its runs, seats, what is handed in.
course-unknown = Course “{ $course }” is not there, or not yours to see. `nvlhub course list` shows yours.
run-unknown = Run { $run } is not there, or not yours to see. `nvlhub course runs` shows yours.
given-twice = { $field }: it stands twice in the address. Give it once; nothing was changed.
