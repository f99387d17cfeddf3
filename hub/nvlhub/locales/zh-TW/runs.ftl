# 課程與場次：規劃、申請、核准、名冊。
course-exists = 已有課程「{ $course }」，可能是您看不到的課程。請改用其他代稱。
course-retired = 課程「{ $course }」已停用，不再開設新場次。可在課程頁面（或用 `nvlhub course retire --undo`）恢復，或使用其他課程。
course-commit = commit：未填。教材以單一提交為準，上課期間不會變動：請填完整雜湊值（`git rev-parse HEAD`）。
course-repository = repository：未填。沒有儲存庫，提交就沒有意義。
course-profile = profile：專案「{ $project }」無法在此啟動「{ $profile }」。請改選其他規格；`nvlhub profile list` 會列出該專案可用者。

run-cannot = 狀態為 { $state } 的場次無法執行「{ $action }」。沒有任何變更。`nvlhub course run-show` 可查看目前狀態。
run-changed = 場次 { $run } 剛被他人修改。沒有任何變更，請再試一次。
run-past = starts：時間已經過去。現在是 { $now }；請給現在之後的時間。
run-too-far = starts：時間太遠。最晚可開始的時間是 { $latest }。
run-reversed = ends：必須晚於開始時間 { $starts }。
run-too-long = ends：一個場次最長一天，此處最晚到 { $latest }。請每天各開一個場次。
run-too-short = ends：一個場次至少五分鐘，此處最早到 { $earliest }。
run-ends-past = ends：結束時間已經過去，現在是 { $now }。若要現在結束，請關閉場次。
run-zone = zone：沒有時區「{ $given }」。請填 Asia/Taipei、Europe/Berlin 或 UTC 這類名稱。
run-gpus-few = gpus：「{ $profile }」的核心需要 { $least } 個。每個座位至少要這麼多，或填 0 表示座位不含 GPU。
run-gpus-trays = gpus：超過 4 個時，座位使用每組 4 個的整個托盤。請填 { $below } 或 { $above }。
run-gpus-approved = gpus：此場次核准時每個座位有 { $gpus } 個，不再更動。請取消後重新申請。
run-seats-approved = seats：核准的容量可容納 { $most } 個座位。若要更多，請另開一個場次，或取消後申請較大的場次。
run-seats-taken = seats：無法只留 { $seats } 個：編號更大的座位中有 { $count } 個已有人使用或列在名冊上。請先空出這些座位。
run-no-room = 該時段沒有足夠空間：此場次需要整個托盤共 { $gpus } 個 GPU，同一時段可用 { $most_gpus } 個。未預約任何資源。
    30 天內沒有可容納全部的開始時間。請減少座位、縮小座位規格或縮短時間。
run-no-room-then = 該時段沒有足夠空間：此場次需要整個托盤共 { $gpus } 個 GPU，同一時段可用 { $most_gpus } 個。未預約任何資源。
    下一個同樣長度、可容納全部的開始時間：{ $next_start }。請移到該時間，或減少座位、縮小座位規格。
run-balance = 此計畫收取整個時段的費用，共 { $hold } GPU 小時。專案「{ $project }」沒有一筆全程有效且足夠的核配：最多剩 { $left } GPU 小時。未預約也未預扣。
    請申請更多 GPU 小時，或減少座位、縮小座位規格、縮短時間。
run-over = 場次 { $run } 已結束、已關閉或已取消，無法執行。請建立新的場次。
run-begun = 場次 { $run } 的時段已開始，無法取消。請關閉場次：至今保留的部分計費，其餘退回。
run-not-begun = 場次 { $run } 的時段尚未開始，無需關閉。請取消場次：全部退回。
run-begun-starts = starts：場次已開始，開始時間不再更動。結束時間可以更動。
reservation-of-run = 預約 { $reservation } 是為課程場次 { $run } 保留，並隨其費用一起變動。請改為移動或取消場次（`nvlhub course run-change`、`nvlhub course cancel`）。
slot-ends = 支付此租約的場次將在 { $most_seconds } 後結束，時間太短，無法啟動。請等場次結束，或請講師延長時間。
extend-slot = 未延長：支付此租約的場次屆時結束。最多還能延長 { $most_seconds }。請講師延後場次的結束時間。
correct-free = 租約 { $lease } 依規定不收費，沒有費用可更正。沒有任何變更。

roster-refused = 名冊未變更：檔案有 { $total } 處錯誤，各列於其列號。請更正後重新上傳。
roster-encoding = csv：檔案不是 UTF-8，也不是帶有 BOM 的 UTF-16。請在試算表中另存為「CSV UTF-8」後重新上傳；不會猜測 Big5 等其他編碼。
roster-unreadable = csv：無法以 CSV 讀取檔案，可能缺少引號。請重新另存為 CSV。
roster-too-long = csv：名冊最多 { $most } 列，超過的部分不會讀取。請將班級分成多個場次。
roster-column-missing = { $field }：標題列沒有「{ $field }」欄，也沒有「{ $other }」欄，至少需要其中一欄。可用的欄位：{ $columns }。
roster-column-twice = { $field }：標題列中此欄出現兩次。請保留一個。
roster-cells = csv：此列有 { $count } 格，標題列只有 { $most } 格。姓名中的逗號可能需要加上引號。
roster-long = { $field }：超過 { $most } 個字元。
roster-signs = { $field }：含有看不見的字元（換行、控制字元或方向標記）。請重新輸入此格。
roster-name = name_zh：兩個姓名都是空白。請填一個。
roster-nobody = student_no：學號與帳號都未填。至少需要其中之一，成績才能對應回來。
roster-seat = seat：請填 1 到 { $most } 的數字，或留空。
roster-twice = { $field }：與第 { $first } 列相同。

run-time-unreadable = 「{ $given }」不是時間。請以 2027-03-14T09:00（{ $zone }）或 2027-03-14T09:00+08:00 表示。
run-time-left-out = { $given } 在 { $zone } 並不存在：時鐘在此撥快而跳過。請改用 { $instead } 或更早的時間。
run-time-twice = { $given } 在 { $zone } 出現兩次，因為時鐘撥回。請加上時差：{ $first } 或 { $last }。
class-not-on = 您僅因課堂而成為專案「{ $project }」的成員。核心自 { $opens }（{ $wait }後）起至課堂結束為止可以啟動。若要在課堂以外使用此專案，請洽專案負責人。
class-over = 您僅因課堂而成為專案「{ $project }」的成員，而您的課堂已結束：此處無法再啟動核心。若要在課堂以外使用此專案，請洽專案負責人。
class-ends = 您的課堂將在 { $most_seconds }後結束，時間太短，無法啟動。請向講師索取更多時間。
extend-class = 未延長：您的課堂屆時結束。最多還能延長 { $most_seconds }。請向講師索取更多時間。
guest-not = 您僅因課堂而加入此專案。其餘額、核配與用量由其他成員檢視；請洽專案負責人。
