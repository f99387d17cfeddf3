# 在兩個時間之間為專案保留的整個托盤。
reservation-unknown = 沒有預約 { $reservation }。現有預約的編號列在預約清單中。
reservation-past = starts：時間已經過去。現在是 { $now }；請給現在之後的時間。
reservation-too-far = starts：時間太遠。可預約的最晚開始時間是 { $latest }。
reservation-reversed = ends：必須晚於 { $starts }。
reservation-too-long = ends：一筆預約最長 90 天，此處最晚到 { $latest }。之後的時間請另建一筆。
reservation-over = 預約 { $reservation } 已結束或已取消，無法變更。請建立新的預約。
reservation-no-room = 該時段無法預約 { $gpus } 個 GPU：托盤已被預約或停止服務。未預約任何資源。
    同一時段可預約：{ $most_gpus } 個 GPU。其後 30 天內沒有同樣長度、可容納 { $gpus } 個 GPU 的時段。
    請減少 GPU 或縮短時間，或取消、移動其他預約。
reservation-no-room-then = 該時段無法預約 { $gpus } 個 GPU：托盤已被預約或停止服務。未預約任何資源。
    同一時段可預約：{ $most_gpus } 個 GPU。同樣長度、{ $gpus } 個 GPU 的可行時間：自 { $next_start } 起。
extend-reserved = 未延長：其 GPU 之後已為某專案預約。最多還能延長 { $most_seconds }。租約會持續到期限；之後請在其他位置重新啟動。

time-unreadable = 「{ $given }」不是時間。請以 2027-03-14T09:00（站點時區）、2027-03-14T09:00+08:00 或日期 2027-03-14 表示。
time-left-out = { $given } 在站點時區並不存在：時鐘在此撥快而跳過。請改用 { $instead } 或更早的時間。
time-twice = { $given } 在站點時區出現兩次，因為時鐘撥回。請加上時差：{ $first } 或 { $last }。

reservations-plot = 已預約的 GPU
reservations-in = 未來 { $days } 天{ $count ->
    [0] 沒有預約；服務中的 GPU 有 { $capacity } 個。
    [1] 有一筆預約，保留服務中 { $capacity } 個 GPU 中的 { $peak } 個。
   *[other] 有 { $count } 筆預約，最多同時保留服務中 { $capacity } 個 GPU 中的 { $peak } 個。
 }
reservations-span = 顯示範圍
reservations-days = 未來 { $days } 天
reservations-capacity = 服務中：{ $gpus }
reservations-axis = GPU 數
reservations-list = 預約
reservations-none = 目前沒有預約。填寫表單即可為專案保留整個托盤。
reservations-more = 只顯示 { $total } 筆中的前 { $shown } 筆。`nvlhub reservation list` 可列出全部。
reservations-new = 預約 GPU
reservations-zone = 時間以 { $zone } 表示。預約本身不收費：其中執行的租約照常計費。
reservations-name = 名稱
reservations-project = 專案
reservations-gpus = GPU 數（整個托盤）
reservations-starts = 開始
reservations-ends = 結束
reservations-note = 備註（選填）
reservations-which = { $time } 因時鐘撥回而出現兩次。是哪一次？
reservations-first = 第一次，{ $time }
reservations-last = 第二次，{ $time }
reservations-add = 預約
reservations-fill = 填寫專案、GPU 數與時間後，這裡會顯示將預約的內容。
reservations-would = 將保留 { $gpus } 個 GPU：{ $where }。
reservations-clear = 沒有租約會受影響。
reservations-way = { $count ->
    [1] 有一個目前在此執行的租約可能超過開始時間，最晚到 { $until }。它不會被終止；在那之前缺少其 GPU：
   *[other] 有 { $count } 個目前在此執行的租約可能超過開始時間，最晚到 { $until }。它們不會被終止；在那之前缺少其 GPU：
 }
reservations-lease = { $user } 的 { $gpus } 個 GPU（{ $project }），最晚到 { $until }
reservations-made = 已為 { $project } 預約 { $gpus } 個 GPU。
reservations-moved = 已移動。
reservations-cancelled = 已取消，其托盤可供他人使用。
reservations-changed = 未變更：此預約已被他人修改。現在顯示的是最新內容；請查看後再試。
reservations-bad-gpus = GPU 數：請填 1 到 10008 的整數。
reservations-when = { $starts } 至 { $ends }
reservations-for = 專案 { $project }
reservations-gpus-kept = { $gpus } 個 GPU
reservations-now = 進行中
reservations-by = 由 { $user } 建立
reservations-move = 移動
reservations-move-of = 移動「{ $name }」
reservations-cancel = 取消
reservations-cancel-of = 取消「{ $name }」
reservations-sure = 要取消「{ $name }」嗎？其托盤將立即可供他人使用，執行中的租約會繼續。
