# 課程：教材、場次、座位、繳交。
course-unknown = 沒有課程「{ $course }」，或您無權檢視。`nvlhub course list` 會列出您的課程。
run-unknown = 沒有場次 { $run }，或您無權檢視。`nvlhub course runs` 會列出您的場次。
given-twice = { $field }：在網址中出現兩次。請只給一次；沒有任何變更。
